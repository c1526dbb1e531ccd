"""log p(x) from below and from above: annealed importance sampling, and bidirectional Monte Carlo on simulated rows."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import comparable_anywhere, draw
from ..errors import UsageError
from ..memory import at_once
from ..models import VAE, Terms
from ..models.vae import at_rows
from ..noise import Noise, RowNoise, stream
from ..part import evaluating, exact
from ..refinements.base import gradients, plain
from ..refinements.metropolis import move
from ..shapes import Float
from ..training import Batch, Rows

# share of trajectories to accept: in many dimensions 0.65 costs least and 0.6 to 0.9 about as much (Betancourt 2014);
# in few, a refused one costs most: with 0.65 the bounds of a linear model lay 0.13 nats apart, with 0.8 half of that
TARGET = 0.8
TUNING = 100  # moves of the pilot, at least
RATE = 0.2  # of the pilot's log step
STARTS = ("prior", "posterior")


@dataclass(frozen=True)
class Annealed:
    """Per row, (N,) float64, in nats of the model's units: E[lower] <= log p(x) <= E[upper], and what was accepted.

    `upper` is known for rows that were simulated from the model, where an exact draw of p(z | x) is.
    """

    lower: Float[Tensor, " N"]
    upper: Float[Tensor, " N"] | None
    acceptance: float


@dataclass(frozen=True)
class Bridge:
    """log f_b(z) = base(z) + b extra(z): from the start at b = 0 to log p(x, z) at b = 1, z (K, B, Z)."""

    densities: Callable[[Tensor], tuple[Tensor, Tensor]]
    leapfrog: int

    def at(self, z: Tensor, beta: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return log f (K, B), extra (K, B) and the gradient of log f (K, B, Z)."""
        with gradients():
            z = z.detach().requires_grad_()
            base, extra = self.densities(z)
            log_f = base + beta * extra
            (slope,) = torch.autograd.grad(log_f.sum(), z)
        return log_f.detach(), extra.detach(), slope

    def move(self, z: Tensor, beta: float, step: Tensor, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
        """Return z after a move that leaves f_b as it is, its extra, and how likely it was accepted; step (B,)."""
        return move(lambda y: self.at(y, beta), z, step, self.leapfrog, noise)


def ladder(temperatures: int) -> list[float]:
    """b_t of 0 = b_0 < ... < b_T = 1, slow at both ends: sigmoid(4 (2 t / T - 1)), shifted and scaled (Grosse 2015)."""
    s = torch.sigmoid(4 * torch.linspace(-1, 1, temperatures + 1, dtype=torch.float64))
    return ((s - s[0]) / (s[-1] - s[0])).tolist()


def anneal(
    bridge: Bridge, z: Tensor, betas: list[float], steps: dict[float, Tensor], noise: Noise
) -> tuple[Tensor, float]:
    """Return log of an unbiased estimate of Z(last b) / Z(first b) for each chain, (K, B), and the mean acceptance.

    z ~ f of the first b. Up the ladder this estimates p(x); down, from an exact draw, 1 / p(x) (Neal 2001, eq. 11).
    """
    extra = bridge.at(z, betas[0])[1]
    log_w, accepted = torch.zeros_like(extra), []
    for here, there in pairwise(betas):
        log_w = log_w + (there - here) * extra
        if there != betas[-1]:
            z, extra, chance = bridge.move(z, there, steps[there], noise)
            accepted.append(chance.mean())
    return log_w, float(torch.stack(accepted).mean()) if accepted else 1.0


def tune(bridge: Bridge, z: Tensor, betas: list[float], noise: Noise) -> dict[float, Tensor]:
    """Return the step of each temperature and row, (B,), at which TARGET are accepted, found by a pilot run.

    What is measured afterwards takes them as they are, with other noise: adapting there would bias the weights.
    """
    log_step = z.new_full((z.shape[1],), math.log(0.5))
    steps = {}
    for beta in betas[1:-1]:
        for _ in range(-(-TUNING // len(betas))):
            z, _, chance = bridge.move(z, beta, log_step.exp(), noise)
            log_step = log_step + RATE * (chance.mean(0) - TARGET)
        steps[beta] = log_step.exp()
    return steps


def annealed_rows(
    model: nn.Module,
    rows: Rows,
    *,
    temperatures: int = 200,
    chains: int = 8,
    leapfrog: int = 10,
    start: str = "prior",
    seed: int = 0,
    exact_z: Float[Tensor, "N Z"] | None = None,
    tick: Callable[[float], None] = lambda share: None,
) -> Annealed:
    """Return bounds on log p(x) of each row, from `start` ("prior" or "posterior", q(z | x)) up to p(z) p(x | z).

    log of the mean of `chains` weights; with `exact_z`, a draw of p(z | x) for each row, as many chains go down from
    it, and minus the log of the mean of theirs is the upper bound (Grosse, Ancha & Roy 2016, section 3). A row's
    noise is its own. Raises UsageError for a model whose z is not one continuous layer in R^D.
    """
    if temperatures < 1 or chains < 1 or leapfrog < 1:
        raise UsageError(
            f"temperatures, chains and leapfrog are at least 1, got {temperatures}, {chains} and {leapfrog}."
        )
    if start not in STARTS:
        raise UsageError(f"start is {' or '.join(STARTS)}, got {start!r}.")
    vae = exact(checked(model))
    rows, betas = rows.drawn(seed), ladder(temperatures)
    block = at_once(vae, chains * math.prod(rows.data.shape[1:]))
    lower, upper, accepted = [], [], []
    with evaluating(vae), torch.no_grad():
        for first in range(0, len(rows), block):
            batch = rows.at(slice(first, first + block))
            index = range(first, first + len(batch.x))
            bridge, origin = _bridge(vae, batch, start, leapfrog)
            pilot, up, down = (RowNoise(seed, index, number) for number in (1, 2, 3))
            steps = tune(bridge, draw(origin, chains, pilot), betas, pilot)
            log_w, rate = anneal(bridge, draw(origin, chains, up), betas, steps, up)
            lower.append(log_w.logsumexp(0) - math.log(chains))
            accepted.append(rate)
            if exact_z is not None:
                z = exact_z[first : first + block].to(origin_like(vae)).expand(chains, -1, -1)
                log_w, _ = anneal(bridge, z, betas[::-1], steps, down)
                upper.append(math.log(chains) - log_w.logsumexp(0))
            tick((first + len(batch.x)) / len(rows))
    above = None if exact_z is None else torch.cat(upper)
    return Annealed(torch.cat(lower), above, sum(accepted) / len(accepted))


def simulated(model: nn.Module, like: Rows, n: int, *, seed: int = 0) -> tuple[Rows, Tensor]:
    """Return n rows x ~ p(x | z) with the z ~ p(z) behind each, (n, Z) float64: an exact draw of p(z | x).

    Rows in the type and on the device of `like`. The conditions are those of `like`, in turn; every entry is observed.
    """
    vae, rows, noise = exact(checked(model)), copy.copy(like), Noise(stream(seed, "simulate"))
    rows.condition = None if like.condition is None else like.condition[torch.arange(n) % len(like)]
    given = None if rows.condition is None else rows.condition.to("cpu", torch.float64)
    with evaluating(vae), torch.no_grad():
        z = draw(at_rows(vae.prior_at(given), n), 1, noise)
        rows.data = draw(vae.decode(z, given), 1, noise)[0, 0].to(like.device, like.dtype)
    rows.observed, rows.stochastic = None, False
    if rows.jacobian is not None:
        rows.jacobian = rows.schema.jacobian(rows.schema.decode(rows.data))
    return rows, z[0]


def checked(model: nn.Module) -> VAE:
    """Return the model if its z is one continuous layer in R^D; UsageError by name else."""
    if not isinstance(model, VAE):
        raise UsageError(f"annealing needs one continuous layer of z, a {type(model).__name__} has others. Use iwae.")
    if model.missingness is not None:
        raise UsageError("this model knows which entries go missing, which annealing does not. Use --estimator iwae.")
    if not getattr(model.likelihood, "normalized", True):
        raise UsageError(f"a {type(model.likelihood).__name__} is no normalised density: there is no log p(x).")
    return model


def origin_like(model: nn.Module) -> Tensor:
    """Return a tensor with the type and device of the model."""
    return next(model.parameters())


def _bridge(model: VAE, batch: Batch, start: str, leapfrog: int) -> tuple[Bridge, Distribution]:
    """Return the bridge of these rows, and the distribution at its start."""
    like = origin_like(model)
    x = batch.x.to(like)
    observed = batch.observed
    x = x if observed is None else torch.where(observed, x, 0)
    condition = None if batch.condition is None else batch.condition.to(like)
    p = at_rows(model.prior_at(condition), len(x))
    _refuse(p, "prior")
    q = model.posterior_at(x, observed, condition) if start == "posterior" else p
    if start == "posterior" and not comparable_anywhere(q, p):
        raise UsageError(f"q(z | x) is a {type(q).__name__}: annealing cannot start from it. Start from the prior.")
    x, observed, condition = plain(x), plain(observed), plain(condition)

    def densities(z: Tensor) -> tuple[Tensor, Tensor]:
        t = Terms(x, z, q, p, model.decode(z, condition), observed)
        if start == "prior":
            return t.log_pz, t.log_px
        base = q.log_prob(z)
        return base, t.log_px + t.log_pz - base

    return Bridge(densities, leapfrog), q


def _refuse(p: Distribution, role: str) -> None:
    if getattr(p, "measure", "volume") != "volume" or len(p.event_shape) != 1:
        raise UsageError(
            f"annealing needs a {role} with a density on R^D, p(z) is a {type(p).__name__}. Use --estimator iwae."
        )
