"""log p(x) without draws, for one or two latent dimensions: two rules that know nothing of each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..models import Terms
from ..part import evaluating, exact
from ..shapes import Float
from ..training import Rows
from .annealed import checked

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
                t = Terms(x, z, p, p, vae.decode(z, given), batch.observed)  # noqa: B023
                return (t.log_px + t.log_pz)[:, 0]

            grid, mean, deviation = _grid(joint, p.mean.reshape(-1, dims)[0], p.stddev.reshape(-1, dims)[0])
            hermite = _hermite(joint, mean, deviation)
            by_grid.append(grid)
            apart.append((grid - hermite).abs())
    return Quadrature(torch.stack(by_grid), torch.stack(apart))


def _grid(joint: Callable[[Tensor], Tensor], mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the log of the integral, and mean and deviations of p(z | x), (Z,) each."""
    axis = torch.linspace(-REACH, REACH, POINTS[len(mean)], dtype=torch.float64)
    z = mean + deviation * torch.cartesian_prod(*[axis] * len(mean)).reshape(-1, len(mean))
    cell = len(mean) * math.log(axis[1] - axis[0]) + deviation.log().sum()
    values = _joint(joint, z)
    share = values.softmax(0)
    centre = share @ z
    return values.logsumexp(0) + cell, centre, (share @ (z - centre).square()).clamp(min=1e-12).sqrt()


def _hermite(joint: Callable[[Tensor], Tensor], mean: Tensor, deviation: Tensor) -> Tensor:
    """log of sum_i w_i f(m + s u_i) / N(u_i; 0, 1) * s, where sum_i w_i g(u_i) is E[g(u)], u ~ N(0, 1)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES[len(mean)])
    u = torch.cartesian_prod(*[torch.from_numpy(nodes)] * len(mean)).reshape(-1, len(mean))
    log_w = torch.cartesian_prod(*[torch.from_numpy(np.log(weights))] * len(mean)).reshape(-1, len(mean)).sum(1)
    # hermegauss sums to sqrt(2 pi), which is what N(u; 0, 1) would be divided by
    values = _joint(joint, mean + deviation * u) + log_w + 0.5 * u.square().sum(1)
    return values.logsumexp(0) + deviation.log().sum()


def _joint(joint: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    return torch.cat([joint(some.unsqueeze(1)) for some in z.split(BLOCK)])
