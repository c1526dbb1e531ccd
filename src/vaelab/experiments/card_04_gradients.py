"""Card 4: theta's gradient passes through the expectation; phi's does not, and the score estimator of it is noisy."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..conditional import unbounded
from ..evaluation import Estimate
from ..models import VAE
from ..noise import Given
from ..objectives import ELBO, Objective, Score
from . import lab
from .base import Trial, experiment
from .linear import Process, exact_noise
from .picture import BLUE, PURPLE, VERMILION, tidy
from .scores import OfLogWeight, Plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LATENTS = (1, 10, 100)
DRAWS = 4  # K, of every estimator


def estimates(model: VAE, objective: Objective, x: Tensor, trial: Trial, name: str) -> Tensor:
    """Return gradients of the bound in q's numbers, (R, 2 q): the rows are all the same, so each is an estimate."""
    losses, _ = objective(model, x, noise=trial.noise(name), step=0)
    return -torch.autograd.grad(losses["model"].sum(), lab.numbers(model.posterior))[0]


def exact(process: Process, x: Tensor) -> Tensor:
    """Return the gradient of the bound in the numbers of a q that is the prior, (1, 2 q): quadratics at exact nodes."""
    model, latents = process.model(per_row=1), process.w.shape[1]
    noise = Given([exact_noise(1, latents)])
    losses, _ = ELBO(samples=2 * latents)(model, x, noise=noise, step=0)
    return -torch.autograd.grad(losses["model"].sum(), lab.numbers(model.posterior))[0]


@experiment(
    4,
    "Which gradient is the problem?",
    statement="phi's: its expectation is over q_phi; the score-function estimator of it is unbiased, but noisy",
    control="a baseline that uses its own sample",
)
def measure(trial: Trial) -> None:
    """Both estimators against exact gradients, ratios of their variances, and the reversal at the exact posterior."""
    repeats = 20_000 if trial.full else 4000
    baseline: Objective = Plain("own", DRAWS) if trial.control else Score(DRAWS)
    ways: dict[str, Objective] = {"reparameterised": ELBO(samples=DRAWS), "plain": Plain("none", DRAWS),
                                  "baseline": baseline}  # fmt: skip
    ratios: dict[str, list[Estimate]] = {"plain": [], "baseline": []}
    worst = dict.fromkeys(ways, 0.0)
    for latents in LATENTS:
        process = Process.random(latents + 8, latents, trial.generator(f"process {latents}"))
        x = process.rows(1, trial.generator(f"x {latents}"))
        truth = exact(process, x)
        model, many, spread = process.model(per_row=repeats), x.expand(repeats, -1), {}
        for name, objective in ways.items():
            each = estimates(model, objective, many, trial, f"{name} {latents}")
            # as one number, along the true gradient, and entry by entry
            along = lab.scores(each @ truth[0] / truth.norm(), truth.norm()).abs().item()
            worst[name] = max(worst[name], along, lab.scores(each, truth[0]).abs().max().item())
            spread[name] = lab.variance(each)
        for name, found in ratios.items():
            found.append(lab.ratio(spread[name], spread["reparameterised"]))
    for name, z in worst.items():
        title = {"plain": "score function", "baseline": "score function, baseline"}.get(name, name)
        trial.claim(
            f"{title}: unbiased, every entry within {lab.LENIENT:g} standard errors of the exact gradient, "
            f"{LATENTS} latents",
            z < lab.LENIENT,
            largest_z=z,
        )
    trial.claim(
        "at the start (q = prior) the plain score estimator has more than 5 times the variance",
        min(r.value - 3 * r.se for r in ratios["plain"]) > 5,
        ratio=ratios["plain"],
    )
    trial.claim(
        "with a leave-one-out baseline still more than the reparameterised one",
        min(r.value - 3 * r.se for r in ratios["baseline"]) > 1,
        ratio=ratios["baseline"],
    )
    grows = all(a.value < b.value for found in ratios.values() for a, b in pairwise(found))
    trial.claim("both ratios grow with the number of latents", grows, latents=list(LATENTS))

    process = Process.random(18, 10, trial.generator("process 10"))
    x = process.rows(1, trial.generator("x 10"))
    mean, deviation = process.posterior(x)
    there = process.model(per_row=repeats)
    with torch.no_grad():
        lab.numbers(there.posterior).copy_(torch.cat([mean, unbounded(deviation.log())], 1).expand(repeats, -1))
    many = x.expand(repeats, -1)
    pathwise = lab.variance(estimates(there, ELBO(samples=DRAWS), many, trial, "there pathwise"))
    score = lab.variance(estimates(there, OfLogWeight(DRAWS), many, trial, "there score"))
    trial.claim(
        "the reversal: at the exact posterior log w is log p(x) at every draw, and the score estimator with it has no "
        "variance (rounding: 1e-18), while the reparameterised one, closed-form KL, has",
        score.value < 1e-18 and pathwise.value > 1e-3,
        variance_score=score,
        variance_reparameterised=pathwise,
    )

    def paint(figure: Figure) -> None:
        axis = figure.subplots()
        for (name, found), colour, label in zip(
            ratios.items(), (VERMILION, BLUE), ("score function, plain", "with leave-one-out baseline")
        ):
            own = "with a baseline of its own sample" if trial.control and name == "baseline" else label
            errors = [3 * r.se for r in found]
            axis.errorbar(LATENTS, [r.value for r in found], errors, fmt="o-", color=colour, capsize=4, label=own)
        axis.axhline(1, color=PURPLE, linestyle="--", label="reparameterised")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(LATENTS, [str(latents) for latents in LATENTS])
        tidy(axis, "latent dimensions", "variance of the gradient,\nreparameterised = 1", "q = prior")

    trial.draw(paint, width=8)
