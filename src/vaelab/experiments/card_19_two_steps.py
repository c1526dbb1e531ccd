"""Card 19: z ~ p(z), then x ~ p(x | z); draws differ from decoder means by exactly the likelihood's variance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .. import recipes
from ..evaluation.rules import hermite
from ..models import VAE
from . import lab
from .base import Trial, experiment
from .picture import BLUE, GREY, VERMILION, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LATENTS, COLUMNS, SCALE = 2, 4, 0.35


def moments(model: VAE) -> tuple[Tensor, Tensor]:
    """Return E[x], (d,), and Cov[x], (d, d), of the model by Gauss-Hermite quadrature over p(z)."""
    z, log_w = hermite(60, LATENTS)
    with torch.no_grad():
        px = model.decode(z)
        weight = log_w.exp().unsqueeze(1)
        mean = (weight * px.mean).sum(0)
        apart = px.mean - mean
        return mean, (weight * apart).T @ apart + torch.diag((weight * px.variance).sum(0))


@experiment(
    19,
    "The two steps of generation",
    statement="z ~ p(z), then x ~ p(x | z); decoder means are not draws of x",
    control="decoder means passed off as draws",
)
def measure(trial: Trial) -> None:
    """Moments of draws against quadrature; draws less means against the likelihood's variance."""
    n = 1_000_000 if trial.full else 100_000
    model, _ = recipes.vae((COLUMNS,), LATENTS, hidden=(10,), activation="tanh", likelihood=f"gaussian:scale={SCALE}")
    with torch.no_grad():
        for parameter in model.likelihood.parameters():
            parameter.mul_(3)  # bent enough that p(x) is no Gaussian
    model = model.double()
    with torch.no_grad():
        x = model.generate(n, noise=trial.noise("draws"), means=trial.control)
        means = model.generate(n, noise=trial.noise("draws"), means=True)  # at the same z
    mean, covariance = moments(model)
    z_mean = lab.scores(x, mean).abs().max().item()
    apart = x - mean
    z_covariance = lab.scores(apart.unsqueeze(2) * apart.unsqueeze(1), covariance).abs().max().item()
    trial.claim(
        f"E[x] of {n:,} draws is the model's own by quadrature, every entry within {lab.LENIENT:g} standard errors",
        z_mean < lab.LENIENT,
        largest_z=z_mean,
        quadrature=mean,
        draws=x.mean(0),
    )
    trial.claim(
        "so is every entry of Cov[x]",
        z_covariance < lab.LENIENT,
        largest_z=z_covariance,
        variance_by_quadrature=covariance.diagonal(),
        variance_of_draws=x.var(0),
        variance_of_means=means.var(0),
    )
    noise = lab.mean((x - means).square())
    error = math.sqrt(2 / (n * COLUMNS)) * SCALE**2  # of the mean of n d squares of N(0, sigma²)
    trial.claim(
        "draws less decoder means at the same z have the likelihood's variance, sigma²",
        abs(noise.value - SCALE**2) < lab.LENIENT * error,
        variance=noise,
        sigma_squared=SCALE**2,
    )
    z_cross = lab.scores((x - means) * (means - mean), 0.0).nan_to_num().abs().max().item()
    trial.claim("and are uncorrelated with them", z_cross < lab.LENIENT, largest_z=z_cross)

    def paint(figure: Figure) -> None:
        plane, bars = figure.subplots(1, 2)
        name = "means passed off as draws" if trial.control else "draws x ~ p(x | z)"
        plane.plot(*x[:1500, :2].T, "o", color=BLUE, markersize=3, alpha=0.5, label=name)
        plane.plot(*means[:1500, :2].T, "o", color=VERMILION, markersize=2.5, label="decoder means E[x | z]")
        tidy(plane, "x1", "x2", "the same 1,500 z", legend="upper left")
        plane.margins(y=0.25)
        at = np.arange(1, COLUMNS + 1)
        bars.bar(at - 0.27, covariance.diagonal().numpy(), 0.26, color=GREY, label="p(x), by quadrature")
        bars.bar(at, x.var(0).numpy(), 0.26, color=BLUE, label="draws")
        bars.bar(at + 0.27, means.var(0).numpy(), 0.26, color=VERMILION, label="decoder means")
        bars.set_xticks(at, [f"x{i}" for i in at])
        tidy(bars, "entry", "variance", legend="upper left")
        bars.margins(y=0.35)

    trial.draw(paint, width=10)
