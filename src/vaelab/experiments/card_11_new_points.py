"""Card 11: a VAE is for new points that look like the data and are no copies of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..evaluation import Estimate
from .base import Trial, experiment
from .nearest import coverage, density, distances, drawn, reach
from .picture import BLUE, GREY, VERMILION, tidy
from .pixels import LONG, Digits, model_of, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARE, NEW = 0.6, 1000
COPY = 0.25  # of the median distance of held-out rows to the nearest training row: what is nearer is a copy


@experiment(
    11,
    "What is it for?",
    statement="new points that look like the data and are no copies",
    control="1 % of the new rows are planted copies of training rows",
)
def measure(trial: Trial) -> None:
    """Coverage and density; distances to the nearest training row beside those of held-out rows; copies."""
    digits = Digits.split(trial)
    model = model_of(digits, trial, steps=LONG)
    covered, dense = reach(model, digits.reference, trial)
    real = coverage(digits.reference, digits.others)
    trial.claim(
        f"they look like the data: decoder means of prior draws cover at least {SHARE} of what real rows cover",
        covered.value >= SHARE * real,
        coverage=covered,
        coverage_by_real_rows=real,
        density=dense,
        density_of_real_rows=density(digits.reference, digits.others),
    )
    new = {"draws": drawn(model, NEW, trial, "new", means=False), "means": drawn(model, NEW, trial, "new")}
    if trial.control:
        for rows in new.values():
            rows[: NEW // 100] = digits.rows[: NEW // 100]
    held = distances(digits.held_out, digits.rows)
    far = {name: distances(rows, digits.rows) for name, rows in new.items()}
    above = Estimate.of(far["draws"].double()).value - Estimate.of(held.double()).value
    error = (Estimate.of(far["draws"].double()).se ** 2 + Estimate.of(held.double()).se ** 2) ** 0.5
    trial.claim(
        "draws x ~ p(x | z) are not nearer to training rows than held-out rows are (3 standard errors)",
        above > -3 * error,
        draws=Estimate.of(far["draws"].double()),
        held_out=Estimate.of(held.double()),
    )
    limit = COPY * held.median().item()
    copies = {name: int((distance < limit).sum()) for name, distance in far.items()}
    trial.claim(
        f"none of {NEW:,} draws or decoder means is a copy: nearer to a training row than {COPY} of the held-out rows' "
        "median distance",
        sum(copies.values()) == 0,
        copies_among_draws=copies["draws"],
        copies_among_means=copies["means"],
        nearest_mean=far["means"].min().item(),
        limit=limit,
    )
    trial.show(
        "distance of decoder means, without the likelihood's noise, to the nearest training row",
        means=Estimate.of(far["means"].double()),
        held_out=Estimate.of(held.double()),
        share_of_held_out_rows_nearer_than_the_limit=(held < limit).double().mean().item(),
    )
    order = far["means"].argsort()[:10]
    nearest = torch.cdist(new["means"][order], digits.rows).argmin(1)
    shown = torch.cat([new["draws"][order], new["means"][order], digits.rows[nearest]])

    def paint(figure: Figure) -> None:
        images, axis = figure.subplots(1, 2, width_ratios=(3, 3))
        show(images, shown, 10, ["draws", "their means", "nearest\ntraining rows"])
        images.set_xlabel("the ten new digits nearest to training rows")
        top = max(float(d.max()) for d in (*far.values(), held))
        bins = [top * i / 40 for i in range(41)]
        for (name, values), colour in zip({"held-out rows": held, "draws": far["draws"], "means": far["means"]}.items(),
                                          (GREY, BLUE, VERMILION)):  # fmt: skip
            axis.hist(values.tolist(), bins, density=True, histtype="step", linewidth=2.2, color=colour, label=name)
        axis.axvline(limit, color="black", linestyle=":", label="copies are below")
        tidy(axis, "distance to the nearest training row", "density")

    trial.draw(paint, width=11.5, height=4)
