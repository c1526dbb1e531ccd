"""log p(x) without draws, for one or two latent dimensions: two rules that know nothing of each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from ..distributions import entries
from ..errors import UsageError
from ..models import VAE
from ..part import evaluating, exact
from ..shapes import Float
from ..training import Rows
from .annealed import checked
from .rules import Rule, hermite, trapezoid

POINTS, REACH = {1: 6001, 2: 301}, 9.0  # of the grid, in deviations of the prior
NODES = {1: 240, 2: 120}  # of Gauss-Hermite
BLOCK = 2**16  # values of z at rows in one pass


@dataclass(frozen=True)
class Quadrature:
    """log p(x) of each row by the grid, (N,) float64 nats of the model's units, and |grid - Gauss-Hermite|.

    Where the second is small the first is right; where not, p(z | x) has far modes, or is narrower than a step.
    """

    log_px: Float[Tensor, " N"]
    apart: Float[Tensor, " N"]


def quadrature(model: nn.Module, rows: Rows, *, seed: int = 0) -> Quadrature:
    """Return log of the integral of p(z) p(x | z) over z, for a model with 1 or 2 latent dimensions.

    By the trapezoid rule on a grid of 9 deviations of the prior about its mean (exact to rounding for smooth functions
    that vanish at its ends), and by Gauss-Hermite about the mean of p(z | x), in its deviations: not about q(z | x),
    where it would be as good as q is. Raises UsageError for more dimensions.
    """
    vae, rows = exact(checked(model)), rows.drawn(seed)
    dims = vae.latent_dim
    if dims not in POINTS:
        raise UsageError(f"quadrature is for 1 or 2 latent dimensions, the model has {dims}. Use --estimator ais.")
    by_grid, apart = [], []
    with evaluating(vae), torch.no_grad():
        for batch in rows.in_order(1):
            x = batch.x.double().cpu()
            x = x if batch.observed is None else torch.where(batch.observed, x, 0)
            given = None if batch.condition is None else batch.condition.double().cpu()
            p = vae.prior_at(given)

            def joint(z: Tensor) -> Tensor:
                return log_joint(vae, x, z, observed=batch.observed, condition=given)[:, 0]  # noqa: B023

            grid, mean, deviation = _grid(joint, p.mean.reshape(-1, dims)[0], p.stddev.reshape(-1, dims)[0])
            hermite = _hermite(joint, mean, deviation)
            by_grid.append(grid)
            apart.append((grid - hermite).abs())
    return Quadrature(torch.stack(by_grid), torch.stack(apart))


def log_joint(
    model: VAE, x: Tensor, z: Tensor, *, observed: Tensor | None = None, condition: Tensor | None = None
) -> Tensor:
    """log p(x_n, z_m), (M, N), for x (N, *X) and z (M, D), or (M, N, D) where every row has nodes of its own."""
    z = z if z.ndim == 3 else z.unsqueeze(1)
    single = entries(model.decode(z, condition))
    each = single.log_prob(x)
    if observed is not None:
        if hasattr(single, "check_mask"):  # entries that depend on one another
            single.check_mask(observed)
        each = torch.where(observed, each, 0)
    return each.flatten(2).sum(2) + model.prior_at(condition).log_prob(z)


def log_evidence(model: VAE, x: Tensor, rule: Rule, rows: int = 50) -> Tensor:
    """log p(x) = log of the integral of p(x, z) over z, (N,), by a rule on the latent space; few rows at a time."""
    z, log_w = rule
    with torch.no_grad():
        return torch.cat([(log_joint(model, some, z) + log_w.unsqueeze(1)).logsumexp(0) for some in x.split(rows)])


def _grid(joint: Callable[[Tensor], Tensor], mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the log of the integral, and mean and deviations of p(z | x), (Z,) each."""
    u, log_w = trapezoid(REACH, POINTS[len(mean)], len(mean))
    z = mean + deviation * u
    values = _joint(joint, z)
    share = values.softmax(0)
    centre = share @ z
    total = (values + log_w).logsumexp(0) + deviation.log().sum()
    return total, centre, (share @ (z - centre).square()).clamp(min=1e-12).sqrt()


def _hermite(joint: Callable[[Tensor], Tensor], mean: Tensor, deviation: Tensor) -> Tensor:
    """log of E[f(m + s u) / N(u; 0, I)] + log s, u ~ N(0, I): the integral of f about m."""
    u, log_w = hermite(NODES[len(mean)], len(mean), least=-math.inf)  # the integrand is not weighted by N(0, I)
    log_normal = Normal(0.0, 1.0).log_prob(u).sum(1)
    return (_joint(joint, mean + deviation * u) + log_w - log_normal).logsumexp(0) + deviation.log().sum()


def _joint(joint: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    return torch.cat([joint(some) for some in z.split(BLOCK)])
