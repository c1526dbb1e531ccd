"""Card 1: log p(x) = ELBO + KL(q(z | x) || p(z | x)), each by a quadrature of its own, all along training."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import recipes
from ..evaluation.quadrature import log_evidence, log_joint
from ..evaluation.rules import legendre, normal, trapezoid
from ..models import VAE
from ..objectives import elbo
from ..training import History
from . import lab
from .base import Trial, experiment
from .picture import BLUE, PURPLE, VERMILION, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, COLUMNS, LOOKS = 24, 6, 20
# latents -> nodes an axis of the rules about p(z) (trapezoid; panels of 10) and about q (the same). Networks of tanh
# have poles near the line once their weights are large, so steps must be small: see rules.normal
NODES = {1: ((2001, 200), (1201, 120)), 2: ((161, 22), (101, 10))}


@dataclass
class Look:
    """What is seen at one checkpoint: values of each row, (N,)."""

    step: int
    log_p: Tensor
    bound: Tensor
    gap: Tensor

    @property
    def error(self) -> float:
        """The largest |log p(x) - ELBO - KL| of a row."""
        return (self.log_p - self.bound - self.gap).abs().max().item()


def look(model: VAE, x: Tensor, step: int, *, control: bool) -> Look:
    """Measure log p(x), ELBO and the KL to the posterior (in the control: to the prior) by three separate rules."""
    dims = model.latent_dim
    (dense, panels), (inside, inner) = NODES[dims]
    log_p = log_evidence(model, x, trapezoid(7.5, dense, dims))
    with torch.no_grad():
        # the library's own bound, its expectation by nodes in the place of noise
        noise, log_weight = lab.at_nodes(*normal(7.0, inside, dims), len(x))
        terms = model.terms(x, samples=len(log_weight), noise=noise)
        terms.log_weight = log_weight
        bound = elbo(terms)
        # the KL on nodes around each q; the posterior is normalised by a rule of its own
        q = model.posterior(x)
        u, log_w = legendre(-7.0, 7.0, inner, 10, dims)
        z = q.mean + q.stddev * u.unsqueeze(1)
        log_q = q.log_prob(z)
        weight = (log_q + log_w.unsqueeze(1) + q.stddev.log().sum(-1)).exp()
        if control:
            log_target = model.prior_at().log_prob(z)
        else:
            log_target = log_joint(model, x, z) - log_evidence(model, x, legendre(-7.5, 7.5, panels, 10, dims))
        gap = (weight * (log_q - log_target)).sum(0)
    return Look(step, log_p, bound, gap)


def follow(trial: Trial, dims: int) -> list[Look]:
    """Train a model with `dims` latents on simulated rows, and look now and then."""
    epochs = 1200 if trial.full else 300
    noise = trial.generator(f"data {dims}")
    truth, _ = recipes.vae((COLUMNS,), dims, hidden=(8,), activation="tanh", likelihood="gaussian:scale=0.8")
    model, objective = recipes.vae((COLUMNS,), dims, hidden=(8,), activation="tanh", likelihood="gaussian:scale=0.8")
    with torch.no_grad():
        for parameter in truth.likelihood.parameters():
            parameter.copy_(0.8 * torch.randn(parameter.shape, generator=noise))
        x = truth.double().generate(ROWS, noise=trial.noise(f"rows {dims}"))
    model = model.double()
    looks = [look(model, x, 0, control=trial.control)]

    def report(record: dict[str, Any], history: History) -> None:
        if record["step"] * LOOKS // epochs > looks[-1].step * LOOKS // epochs:
            looks.append(look(model, x, record["step"], control=trial.control))

    lab.train(model, x, steps=epochs, objective=objective, batch_size=ROWS, lr=0.02, seed=trial.seed, report=report)
    return looks


@experiment(
    1,
    "How is the ELBO optimised, and what happens to p(x) and the KL?",
    statement="Maximise ELBO = log p(x) - KL(q(z | x) || p(z | x)): a gain raises log p(x), lowers the gap, or both",
    control="the KL to the prior in the place of the KL to the posterior",
)
def measure(trial: Trial) -> None:
    """Identity at every checkpoint; log p(x) ends higher; how often the gap rises is counted."""
    found = {dims: follow(trial, dims) for dims in (1, 2)}
    for dims, looks in found.items():
        name = f"{dims} latent" + "s" * (dims > 1)
        worst = max(seen.error for seen in looks)
        trial.claim(
            f"{name}: log p(x) - ELBO is the KL to the posterior within 1e-6 nats in every row, at all "
            f"{len(looks)} checkpoints",
            worst <= 1e-6,
            largest_error=worst,
        )
        lowest = min(seen.gap.min().item() for seen in looks)
        trial.claim(f"{name}: the gap is never below 0 (rounding: 1e-9)", lowest >= -1e-9, smallest_gap=lowest)
        log_p = [seen.log_p.mean().item() for seen in looks]
        gap = [(seen.log_p - seen.bound).mean().item() for seen in looks]
        trial.claim(
            f"{name}: log p(x) of the training rows ends higher than it began (exact: no error)",
            log_p[-1] > log_p[0],
            start=log_p[0],
            end=log_p[-1],
        )
        rises = sum(b > a for a, b in pairwise(gap))
        falls = sum(b < a for a, b in pairwise(log_p))
        trial.show(
            f"{name}: between {len(gap) - 1} pairs of checkpoints the gap rose, and log p(x) fell",
            gap_rose=rises,
            log_p_fell=falls,
            gap_start=gap[0],
            gap_end=gap[-1],
        )

    def paint(figure: Figure) -> None:
        axes = figure.subplots(2, 2, sharex=True, height_ratios=(3, 2))
        for (above, below), (dims, looks) in zip(axes.T, found.items()):
            steps = [seen.step for seen in looks]
            above.plot(steps, [seen.log_p.mean().item() for seen in looks], color=BLUE, label="log p(x)")
            above.plot(steps, [seen.bound.mean().item() for seen in looks], "--", color=VERMILION, label="ELBO")
            below.plot(steps, [seen.gap.mean().item() for seen in looks], "o-", color=PURPLE, markersize=4)
            tidy(above, "", "nats per row", f"{dims} latent" + "s" * (dims > 1), legend="lower right")
            tidy(below, "steps", "KL to p(z)" if trial.control else "KL to p(z | x)")
            below.set_ylim(bottom=0)

    trial.draw(paint, height=5.2)
