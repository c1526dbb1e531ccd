"""Card 2: the loss of p(x | z) is an expectation over noise, estimated by an average over L draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import recipes
from ..evaluation.rules import hermite
from ..models import VAE
from ..noise import Noise
from ..objectives import Reconstruction
from . import lab
from .base import Trial, experiment
from .picture import BLUE, VERMILION, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LATENTS, COLUMNS, ROWS = 2, 5, 2
DRAWS = (1, 4, 16, 64)  # L


class OneForAll(Noise):
    """The control: the first draw of each row stands for all L."""

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw N(0, 1) once per row."""
        return super().normal((1, *shape[1:]), like).expand(*shape)


def exactly(model: VAE, x: Tensor) -> tuple[float, Tensor]:
    """Return -E[log p(x | z)], summed over rows, and its gradient, by Gauss-Hermite quadrature."""
    noise, log_weight = lab.at_nodes(*hermite(40, LATENTS), len(x))
    terms = model.terms(x, samples=len(log_weight), noise=noise)
    terms.log_weight = log_weight
    loss = -terms.mean(terms.log_px).sum()
    return loss.item(), lab.gradient(loss, model.parameters())


def estimates(model: VAE, x: Tensor, draws: int, repeats: int, noise: Noise) -> tuple[Tensor, Tensor]:
    """Return the loss (R,) and its gradient (R, P) of `repeats` independent estimates with L = `draws`."""
    objective, values, gradients = Reconstruction(samples=draws), [], []
    for step in range(repeats):
        losses, _ = objective(model, x, noise=noise, step=step)
        loss = losses["model"].sum()
        values.append(loss.detach())
        gradients.append(lab.gradient(loss, model.parameters()))
    return torch.stack(values), torch.stack(gradients)


@experiment(
    2,
    "What is the loss of p(x | z)?",
    statement="-E over noise of log p(x | z(noise)), estimated by an average over L draws",
    control="one noise reused for all L draws",
)
def measure(trial: Trial) -> None:
    """Value and gradient against quadrature; the variance of the gradient falls as 1/L."""
    repeats = 2000 if trial.full else 400
    model, _ = recipes.vae((COLUMNS,), LATENTS, hidden=(6,), activation="tanh", likelihood="gaussian:scale=0.5")
    model = model.double()
    x = torch.randn(ROWS, COLUMNS, generator=trial.generator("x"), dtype=lab.F64)
    loss, slope = exactly(model, x)
    moving = slope.abs() > 1e-9  # the prior has no parameters, and no draw moves the loss through some biases
    noise = (OneForAll if trial.control else Noise)(trial.generator("noise"))
    spread, worst = [], {}
    for draws in DRAWS:
        values, gradients = estimates(model, x, draws, repeats, noise)
        spread.append(lab.variance(gradients))
        worst[draws] = (
            lab.scores(values, loss).abs().item(),
            lab.scores(gradients, slope)[moving].abs().max().item(),
        )
    trial.claim(
        f"the estimated loss is unbiased: within {lab.LENIENT:g} standard errors of quadrature for every L",
        max(value for value, _ in worst.values()) < lab.LENIENT,
        exact=loss,
        largest_z=max(value for value, _ in worst.values()),
    )
    trial.claim(
        f"so is every entry of its gradient ({int(moving.sum())} entries, {len(DRAWS)} values of L)",
        max(entry for _, entry in worst.values()) < lab.LENIENT,
        largest_z=max(entry for _, entry in worst.values()),
    )
    power = lab.slope(DRAWS, spread)
    trial.claim(
        "the variance of the gradient falls as 1/L: slope of log variance over log L is -1 within 0.1",
        abs(power.value + 1) <= 0.1,
        slope=power,
        variance=spread,
    )

    def paint(figure: Figure) -> None:
        axis = figure.subplots()
        axis.errorbar(
            DRAWS, [v.value for v in spread], [2 * v.se for v in spread], fmt="o", color=BLUE, capsize=4,
            label="measured, ± 2 standard errors",
        )  # fmt: skip
        axis.plot(DRAWS, [spread[0].value / draws for draws in DRAWS], "--", color=VERMILION, label="1 / L")
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(DRAWS, [str(draws) for draws in DRAWS])
        tidy(axis, "L, draws in the average", "variance of the gradient", f"slope {power.value:.3f} ± {power.se:.3f}")

    trial.draw(paint, width=7)
