"""Card 14: with Gaussian q and prior the KL has a closed form, so only the reconstruction is sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..conditional import bounded, unbounded
from ..evaluation import Estimate
from ..models import VAE, Terms
from ..objectives import ELBO, BoundObjective
from . import lab
from .base import Trial, experiment
from .linear import Process
from .picture import BLUE, PURPLE, VERMILION, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LATENTS, COLUMNS = 4, 8
NAMES = ("closed-form KL", "sampled KL", "sampled, stuck to the landing")


class Sampled(BoundObjective):
    """The mean of log w: the whole bound sampled, gradients through draw and density alike."""

    def bound(self, terms: Terms, step: int) -> Tensor:
        """Return the mean of log w, (B,)."""
        return terms.mean(terms.log_w)


def spreads(model: VAE, x: Tensor, trial: Trial, where: str) -> dict[str, Estimate]:
    """Return the variance of the gradient in q's parameters, summed over them, of each form of the bound."""
    found = {}
    for name, objective in zip(NAMES, (ELBO(), Sampled(), ELBO(gradient="stopped"))):
        losses, _ = objective(model, x, noise=trial.noise(f"{where} {name}"), step=0)
        (each,) = torch.autograd.grad(losses["model"].sum(), lab.numbers(model.posterior))  # one row, one estimate
        found[name] = lab.variance(each)
    return found


@experiment(
    14,
    "Why the KL form?",
    statement="the closed form leaves only the reconstruction to sampling; near the exact posterior that is no gain",
    control="log-variance read as log-deviation in the closed form",
)
def measure(trial: Trial) -> None:
    """Closed form against sampled KL; variances of gradients early in training and near the exact posterior."""
    repeats, draws = (20_000 if trial.full else 4000), 50_000
    process = Process.random(COLUMNS, LATENTS, trial.generator("process"))
    x = process.rows(1, trial.generator("x"))

    model = process.model(per_row=1)
    with torch.no_grad():
        lab.numbers(model.posterior).copy_(torch.randn(1, 2 * LATENTS, generator=trial.generator("q")) * 0.7)
        sampled = model.terms(x, samples=draws, noise=trial.noise("kl"))
        sampled_kl = lab.mean(sampled.log_px - sampled.log_w)
        if trial.control:  # the encoder's number s is taken for log sigma² where it is log sigma, or the other way
            raw = lab.numbers(model.posterior)[:, LATENTS:]
            raw.copy_(unbounded(0.5 * bounded(raw)))
        closed = model.terms(x, samples=1, noise=trial.noise("kl")).kl_total.item()
    off = abs(sampled_kl.value - closed)
    trial.claim(
        f"the closed form equals the KL sampled with {draws:,} draws, within {lab.LENIENT:g} standard errors",
        off < lab.LENIENT * sampled_kl.se,
        closed=closed,
        sampled=sampled_kl,
    )

    many = x.expand(repeats, -1)
    early = process.model(per_row=repeats)  # q starts as the prior
    late = process.model(per_row=repeats)
    mean, deviation = process.posterior(x)
    with torch.no_grad():
        lab.numbers(late.posterior).copy_(torch.cat([mean + 0.02 * deviation, unbounded((1.02 * deviation).log())], 1)
                                            .expand(repeats, -1))  # fmt: skip
    places = {"at the start (q = prior)": early, "near the exact posterior": late}
    found = {where: spreads(place, many, trial, where) for where, place in places.items()}
    start, end = (found[where] for where in places)
    gain = lab.ratio(start[NAMES[1]], start[NAMES[0]])
    trial.claim(
        "at the start the variance of the gradient is lower with the closed form (by more than 5 standard errors)",
        gain.value - lab.LENIENT * gain.se > 1,
        sampled_over_closed=gain,
        **{key(name): value for name, value in start.items()},
    )
    loss = lab.ratio(end[NAMES[0]], end[NAMES[2]])
    trial.claim(
        "near the exact posterior it is lower with the sampled bound, stuck to the landing",
        loss.value - lab.LENIENT * loss.se > 1,
        closed_over_stuck=loss,
        **{key(name): value for name, value in end.items()},
    )

    def paint(figure: Figure) -> None:
        axis = figure.subplots()
        for place, (name, colour) in enumerate(zip(NAMES, (BLUE, VERMILION, PURPLE))):
            at = [i + 0.27 * (place - 1) for i in range(2)]
            values = [spread[name] for spread in found.values()]
            axis.bar(at, [v.value for v in values], 0.25, yerr=[2 * v.se for v in values], color=colour, label=name)
        axis.set_yscale("log")
        axis.set_xticks(range(2), list(places))
        tidy(axis, "where q stands", "variance of the gradient of q")

    trial.draw(paint, width=8)


def key(name: str) -> str:
    """Return a name as a figure is called."""
    return "variance_" + name.replace(",", "").replace(" ", "_").replace("-", "_").lower()
