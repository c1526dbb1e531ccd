"""Card 16: with much weight on the KL the posterior becomes the prior, and every decode the same average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import recipes
from ..data import Dataset
from ..evaluation import active_units, evidence_rows, mutual_information
from ..models import VAE
from ..objectives import ELBO
from ..part import inference
from ..training import Rows
from . import lab
from .base import Trial, experiment
from .picture import BLUE, GREY, VERMILION, tidy
from .pixels import show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, LATENTS, ROWS, BATCH = 24, 6, 4000, 400
EIGENVALUES = (8.0, 4.0, 2.0, 1.0)  # of the data; the other 20 are REST
REST, SIGMA2 = 0.02, 0.5
BETAS = (1.0, 3.0, 6.0, 20.0)  # thresholds beta sigma² 0.5, 1.5, 3, 10: none within 10 % of an eigenvalue
# on digits: their largest eigenvalue is about 0.7 and sigma² = 1, so the thresholds lie on both sides of it
WEAK, STRONG = 0.02, 2.0


def spectral_rows(generator: torch.Generator) -> Tensor:
    """Return rows whose covariance (divisor N) has exactly these eigenvalues, with random directions."""
    x = torch.randn(ROWS, COLUMNS, generator=generator, dtype=lab.F64)
    x = x - x.mean(0)
    white = torch.linalg.qr(x)[0] * ROWS**0.5
    values = torch.full((COLUMNS,), REST, dtype=lab.F64)
    values[: len(EIGENVALUES)] = torch.tensor(EIGENVALUES, dtype=lab.F64)
    turn = torch.linalg.qr(torch.randn(COLUMNS, COLUMNS, generator=generator, dtype=lab.F64))[0]
    return white * values.sqrt() @ turn


def linear_units(x: Tensor, beta: float, scale: str, trial: Trial) -> int:
    """Train a linear VAE with this weight on its KL; return its active units."""
    model, _ = recipes.linear((COLUMNS,), LATENTS, likelihood=f"gaussian:scale={scale}")
    steps = 6000 if trial.full else 500
    lab.train(model, x, steps=steps, objective=ELBO(beta=beta), batch_size=BATCH, lr=0.03, seed=trial.seed)
    return active_units(evidence_rows(model, Rows(lab.data_of(x)), samples=1).mean)


@dataclass
class Digits:
    """What a model of digits carries."""

    units: int
    information: float
    spread: float  # variance of decodes over rows, a share of the data's
    decodes: Tensor


def digits_model(data: Dataset, beta: float, scale: str, trial: Trial) -> Digits:
    """Train a VAE on digits with this weight on its KL, and look at its codes and decodes."""
    model, _ = recipes.vae((64,), 8, hidden=(64,), likelihood=f"gaussian:scale={scale}")
    lab.train(model, data, steps=3000 if trial.full else 400, objective=ELBO(beta=beta), seed=trial.seed)
    rows = Rows(data)
    return Digits(
        active_units(evidence_rows(model, rows, samples=1).mean),
        (mutual_information(model, rows, most=1000) or (0.0,))[0],
        (decodes := decoded(model, rows.data)).var(0).sum().item() / rows.data.var(0).sum().item(),
        decodes,
    )


def decoded(model: VAE, x: Tensor) -> Tensor:
    """Return E[x | z] at the posterior means of rows."""
    with inference(model):
        return model.decode(model.posterior(x).mean).mean


@experiment(
    16,
    "Much weight on KL?",
    statement="q(z | x) -> N(0, I), codes say nothing of x, every decode is a blurred average",
    control="a learned variance, which adapts: no collapse",
)
def measure(trial: Trial) -> None:
    """Linear model: active units counted exactly. Digits: units, information and spread of decodes go to 0."""
    scale = "shared" if trial.control else str(SIGMA2**0.5)
    x = spectral_rows(trial.generator("rows"))
    predicted = [sum(value > beta * SIGMA2 for value in EIGENVALUES) for beta in BETAS]
    found = [linear_units(x, beta, scale, trial) for beta in BETAS]
    trial.claim(
        "linear model, sigma² fixed: active units = number of eigenvalues above beta sigma², exactly",
        found == predicted,
        beta=list(BETAS),
        predicted=predicted,
        active_units=found,
    )
    data, _ = lab.digits(trial.seed)
    scale = "shared" if trial.control else "1.0"
    weak, strong = (digits_model(data, beta, scale, trial) for beta in (WEAK, STRONG))
    trial.claim(
        f"digits, sigma² fixed, beta = {STRONG:g}: no unit is active", strong.units == 0, active_units=strong.units
    )
    trial.claim(
        "the code says less than 0.05 nats of x", strong.information < 0.05, mutual_information=strong.information
    )
    trial.claim(
        "decodes of all rows are one: their variance is below 1 % of the data's",
        strong.spread < 0.01,
        share_of_variance=strong.spread,
    )
    trial.show(
        f"the same model with beta = {WEAK:g}",
        active_units=weak.units,
        mutual_information=weak.information,
        share_of_variance=weak.spread,
    )
    shown = torch.cat([Rows(data).data[:8], weak.decodes[:8], strong.decodes[:8]])

    def paint(figure: Figure) -> None:
        count, images = figure.subplots(1, 2, width_ratios=(3, 4))
        count.plot(BETAS, predicted, "s", color=GREY, markersize=13, label="eigenvalues above beta sigma²")
        count.plot(BETAS, found, "o", color=BLUE if found == predicted else VERMILION, label="active units")
        count.set_xscale("log")
        count.set_xticks(BETAS, [f"{beta:g}" for beta in BETAS], minor=False)
        count.minorticks_off()
        count.set_ylim(-0.4, LATENTS + 1.4)
        tidy(count, "beta, weight on the KL", "latents", "linear model", legend="upper right")
        show(images, shown, 8, ["digits", f"decodes,\nbeta = {WEAK:g}", f"decodes,\nbeta = {STRONG:g}"])
        images.set_xlabel("eight rows")

    trial.draw(paint, width=10.5, height=4)
