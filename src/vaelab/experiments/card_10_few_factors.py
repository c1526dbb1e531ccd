"""Card 10: data can be described with less than they show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import recipes
from ..evaluation import Estimate, active_units, evidence_rows
from ..training import Rows
from . import lab
from .base import Trial, experiment
from .picture import BLUE, GREY, VERMILION, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FACTORS, COLUMNS, LATENTS, ROWS = (1, 2, 4, 8), 64, 12, 4000
# of p(x | z), fixed. A linear model keeps the eigenvalues above sigma² = 1.44 (card 16): those of d factors are above
# 64 (1 - sqrt(8 / 64))² / 8 = 3.3, those of 64 columns that share nothing below (1 + sqrt(64 / 4000))² = 1.27
SIGMA = 1.2


def embedded(factors: int, trial: Trial) -> Tensor:
    """Return rows of 64 columns, each a sum of d factors with random signs over sqrt(d), and noise of deviation 0.1."""
    generator = trial.generator(f"factors {factors}")
    signs = torch.randn(factors, COLUMNS, generator=generator).sign()
    rows = torch.randn(ROWS, factors, generator=generator) @ signs / factors**0.5
    return rows + 0.1 * torch.randn(ROWS, COLUMNS, generator=generator)


def permuted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return the same columns, each in an order of its own: what they say of one another is gone."""
    flat = x.flatten(1)
    order = torch.rand(flat.shape, generator=generator).argsort(0)
    return flat.gather(0, order).reshape(x.shape)


def bits_by_pixel(train: Tensor, x: Tensor) -> Tensor:
    """Return the code length of rows by a code for each pixel alone, (N,): frequencies in the training rows, plus 1."""
    share = (train.flatten(1).double().sum(0) + 1) / (len(train) + 2)
    x = x.flatten(1).double()
    return -(x * share.log2() + (1 - x) * (1 - share).log2()).sum(1)


@experiment(
    10,
    "What is assumed about the data?",
    statement="they can be described with less than they show: few latent factors",
    control="columns permuted independently, so nothing is shared: no active units",
)
def measure(trial: Trial) -> None:
    """Active units against the number of factors; digits in bits against a code for each pixel alone."""
    steps, units = (3000 if trial.full else 400), []
    for factors in FACTORS:
        x = embedded(factors, trial)
        if trial.control:
            x = permuted(x, trial.generator("permute"))
        model, objective = recipes.linear((COLUMNS,), LATENTS, likelihood=f"gaussian:scale={SIGMA}")
        lab.train(model, x, steps=2 * steps, objective=objective, batch_size=400, lr=0.05, seed=trial.seed)
        units.append(active_units(evidence_rows(model, Rows(lab.data_of(x)), samples=1).mean))
    trial.claim(
        f"{COLUMNS} columns made of d factors, linear model: active units = d, of {LATENTS} latents",
        tuple(units) == FACTORS,
        factors=list(FACTORS),
        active_units=units,
    )
    train, held_out = lab.digits(trial.seed, values="binary")
    if trial.control:
        mixed = permuted(torch.cat([train.x, held_out.x]), trial.generator("permute digits"))
        train, held_out = (type(train)(part, train.schema) for part in (mixed[: len(train)], mixed[len(train) :]))
    model, objective = recipes.vae((1, 8, 8), LATENTS, hidden=(64,))
    lab.train(model, train, steps=steps, objective=objective, lr=5e-3, seed=trial.seed)
    judged = evidence_rows(model, Rows(held_out), samples=20, seed=trial.seed)
    bits = -judged.elbo / math.log(2)
    alone = bits_by_pixel(Rows(train).data, Rows(held_out).data)
    saved = Estimate.of(alone - bits)
    trial.claim(
        "held-out digits, 8 x 8 black or white: -ELBO in bits is below the code length of independent pixels by more "
        "than 5 standard errors",
        saved.value > 5 * saved.se,
        saved=saved,
        bits_of_the_model=Estimate.of(bits),
        bits_of_independent_pixels=Estimate.of(alone),
        active_units=active_units(judged.mean),
    )

    def paint(figure: Figure) -> None:
        count, code = figure.subplots(1, 2, width_ratios=(4, 3))
        count.plot(FACTORS, FACTORS, "s", color=GREY, markersize=14, label="factors")
        count.plot(FACTORS, units, "o", color=BLUE if tuple(units) == FACTORS else VERMILION, label="active units")
        count.set_xticks(FACTORS)
        count.set_ylim(-0.5, LATENTS + 0.5)
        tidy(count, "factors in the data", "latents", f"{COLUMNS} columns", legend="upper left")
        values = [Estimate.of(v) for v in (alone, bits)]
        code.bar([0, 1], [v.value for v in values], 0.6, yerr=[2 * v.se for v in values], color=[GREY, BLUE], capsize=5)
        code.set_xticks([0, 1], ["independent\npixels", "-ELBO"])
        tidy(code, "", "bits per digit", "held-out digits")

    trial.draw(paint, width=10)
