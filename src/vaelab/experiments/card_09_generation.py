"""Card 9: the latent-variable model and its prior, trained through the bound, make the VAE generate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..evaluation import Estimate
from ..models import VAE
from .base import Trial, experiment
from .nearest import coverage, density, distances, drawn, reach
from .picture import BLUE, GREY, VERMILION, tidy
from .pixels import LONG, Digits, codes, decodes, model_of, pairs, sharpness, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARE = 0.6  # of what held-out data reach
STEPS = 9  # places on a path, its ends included


def paths(model: VAE, a: Tensor, b: Tensor) -> Tensor:
    """Return decodes along straight paths between the codes of rows, (places, pairs, 64)."""
    t = torch.linspace(0, 1, STEPS).reshape(-1, 1, 1)
    return decodes(model, (1 - t) * codes(model, a) + t * codes(model, b))


@experiment(
    9,
    "What makes the VAE generate?",
    statement="the latent-variable model and its prior, trained through the bound",
    control="KL weight zero",
)
def measure(trial: Trial) -> None:
    """Coverage and density of prior draws; paths between classes beside the autoencoder's, as they come out."""
    digits = Digits.split(trial)
    vae = model_of(digits, trial, beta=0.0 if trial.control else 1.0, steps=LONG)
    covered, dense = reach(vae, digits.reference, trial)
    reached = coverage(digits.reference, digits.others)
    trial.claim(
        f"decoded prior draws cover at least {SHARE} of the held-out rows that as many other held-out rows cover",
        covered.value >= SHARE * reached,
        coverage=covered,
        coverage_by_real_rows=reached,
        share=covered.value / reached,
        density=dense,
        density_of_real_rows=density(digits.reference, digits.others),
    )
    plain = model_of(digits, trial, autoencoder=True, steps=LONG)
    two = pairs(digits.labels, 300, trial.generator("pairs"))
    ends = digits.rows[two[:, 0]], digits.rows[two[:, 1]]
    ways = {"vae": paths(vae, *ends), "autoencoder": paths(plain, *ends)}
    within = {name: way[1:-1] for name, way in ways.items()}
    real = sharpness(digits.rows).mean().item()
    far, crisp = {}, {}
    for name, way in within.items():
        between = way.flatten(0, 1)
        far[name] = distances(between, digits.rows).reshape(STEPS - 2, -1).mean(0).double()  # of each path
        crisp[name] = sharpness(between).reshape(STEPS - 2, -1).mean(0).double() / real
    trial.show(
        f"paths between {len(two)} pairs of rows of different classes: distance to the nearest training row",
        vae=Estimate.of(far["vae"]),
        autoencoder=Estimate.of(far["autoencoder"]),
        difference=Estimate.of(far["vae"] - far["autoencoder"]),
    )
    trial.show(
        "and their sharpness, of real rows = 1: what is near to the data may be so because it is blurred",
        vae=Estimate.of(crisp["vae"]),
        autoencoder=Estimate.of(crisp["autoencoder"]),
        difference=Estimate.of(crisp["vae"] - crisp["autoencoder"]),
    )
    shown = torch.cat([drawn(vae, 3 * STEPS, trial, "picture"), *[w[:, i] for i in (0, 1) for w in ways.values()]])

    def paint(figure: Figure) -> None:
        images, curve = figure.subplots(1, 2, width_ratios=(5, 4))
        names = ["", "prior draws", "", "VAE", "autoencoder", "VAE", "autoencoder"]
        show(images, shown, STEPS, names)
        images.set_xlabel("above: new digits; below: paths between two classes")
        for (name, way), colour, style in zip(ways.items(), (BLUE, VERMILION), ("o-", "s--")):
            at = [distances(places, digits.rows).mean().item() for places in way]
            curve.plot(torch.linspace(0, 1, STEPS).tolist(), at, style, color=colour, label=name)
        level = distances(digits.held_out, digits.rows).mean().item()
        curve.axhline(level, color=GREY, linestyle=":", label="held-out rows")
        tidy(curve, "place on the path", "distance to the nearest training row")

    trial.draw(paint, width=11, height=4.6)
