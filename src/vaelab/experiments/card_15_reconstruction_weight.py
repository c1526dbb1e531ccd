"""Card 15: with much weight on the reconstruction a VAE tends to a plain autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..evaluation import Estimate, evidence_rows
from ..training import Rows
from . import lab
from .base import Trial, experiment
from .nearest import distances, drawn, reach
from .picture import BLUE, VERMILION, tidy
from .pixels import Digits, codes, decodes, model_of, pairs, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LITTLE = 0.001  # beta


@experiment(
    15,
    "Much weight on reconstruction?",
    statement="the VAE tends to a plain autoencoder; decodes of places without codes make no sense",
    control="beta = 1 against beta = 1",
)
def measure(trial: Trial) -> None:
    """beta = 0.001 against 1: reconstruction, coverage of prior draws, midpoints of codes of different classes."""
    digits = Digits.split(trial)
    whole = model_of(digits, trial)
    loose = whole if trial.control else model_of(digits, trial, beta=LITTLE)
    rows = Rows(lab.data_of(digits.held_out))
    better = Estimate.of(
        evidence_rows(loose, rows, samples=10).reconstruction - evidence_rows(whole, rows, samples=10).reconstruction
    )
    trial.claim(
        f"beta = {LITTLE:g} reconstructs held-out rows better than beta = 1 by more than 5 standard errors",
        better.value > 5 * better.se,
        gain=better,
    )
    (covered, _), (reached, _) = reach(loose, digits.reference, trial), reach(whole, digits.reference, trial)
    worse = Estimate(reached.value - covered.value, (reached.se**2 + covered.se**2) ** 0.5)
    trial.claim(
        "its decoded prior draws cover fewer held-out rows, by more than 5 standard errors",
        worse.value > 5 * worse.se,
        coverage=covered,
        coverage_at_beta_1=reached,
    )
    two = pairs(digits.labels, 500, trial.generator("pairs"))
    middle = [
        decodes(model, 0.5 * (codes(model, digits.rows[two[:, 0]]) + codes(model, digits.rows[two[:, 1]])))
        for model in (loose, whole)
    ]
    far = [distances(m, digits.rows) for m in middle]
    farther = Estimate.of((far[0] - far[1]).double())
    trial.show(
        "midpoints of codes of two classes, distance of their decodes to the nearest training row (500 pairs): the "
        "card says farther; after 500 to 2,000 steps, with 2 or 10 latents, we found the two within 0.02 of each other",
        farther=farther,
        distance=Estimate.of(far[0].double()),
        distance_at_beta_1=Estimate.of(far[1].double()),
    )
    lines = torch.cat([drawn(loose, 10, trial, "picture"), drawn(whole, 10, trial, "picture"),
                       digits.rows[two[:10, 0]], middle[0][:10], middle[1][:10], digits.rows[two[:10, 1]]])  # fmt: skip

    def paint(figure: Figure) -> None:
        images, bars = figure.subplots(1, 2, width_ratios=(3, 2))
        small = "beta = 1" if trial.control else f"beta = {LITTLE:g}"
        names = [f"prior draws, {small}", "prior draws, beta = 1", "a digit", f"midway, {small}", "midway, beta = 1",
                 "one of another class"]  # fmt: skip
        show(images, lines, 10, names)
        errors = [2 * covered.se, 2 * reached.se]
        bars.bar([0, 1], [covered.value, reached.value], 0.6, yerr=errors, color=[VERMILION, BLUE], capsize=5)
        bars.set_xticks([0, 1], [small, "beta = 1"])
        tidy(bars, "weight on the KL", "coverage of held-out rows\nby prior draws")

    trial.draw(paint, width=11, height=4.5)
