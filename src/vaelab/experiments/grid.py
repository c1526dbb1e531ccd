"""Quadrature in one or two dimensions: nodes (M, D) and log-weights (M,), in float64."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..distributions import entries
from ..models import VAE

Rule = tuple[Tensor, Tensor]


def _product(x: np.ndarray, log_w: np.ndarray, dims: int) -> Rule:
    """Return the rule of every axis at once."""
    nodes = np.stack(np.meshgrid(*[x] * dims, indexing="ij"), -1).reshape(-1, dims)
    weights = np.stack(np.meshgrid(*[log_w] * dims, indexing="ij"), -1).reshape(-1, dims).sum(1)
    return torch.from_numpy(nodes), torch.from_numpy(weights)


def trapezoid(reach: float, points: int, dims: int = 1) -> Rule:
    """The trapezoid rule on [-reach, reach]: exact to rounding for smooth functions that vanish at the ends."""
    x = np.linspace(-reach, reach, points)
    return _product(x, np.full(points, math.log(x[1] - x[0])), dims)


def legendre(low: float, high: float, panels: int, order: int, dims: int = 1) -> Rule:
    """Gauss-Legendre on [low, high], cut into panels of equal width."""
    x, w = np.polynomial.legendre.leggauss(order)
    edges = np.linspace(low, high, panels + 1)
    half = (high - low) / (2 * panels)
    nodes = (edges[:-1, None] + half * (1 + x)).ravel()
    return _product(nodes, np.tile(np.log(half * w), panels), dims)


def hermite(points: int, dims: int = 1) -> Rule:
    """Gauss-Hermite for the expectation under N(0, I): exact for polynomials below degree 2 `points`."""
    x, w = np.polynomial.hermite_e.hermegauss(points)
    nodes, log_w = _product(x, np.log(w / w.sum()), dims)
    keep = log_w > -60
    return nodes[keep], log_w[keep]


def log_joint(model: VAE, x: Tensor, z: Tensor) -> Tensor:
    """log p(x_n, z_m), (M, N), for x (N, *X) and z (M, D), or (M, N, D) where every row has nodes of its own."""
    z = z if z.ndim == 3 else z.unsqueeze(1)
    px = model.decode(z)
    return entries(px).log_prob(x).flatten(2).sum(2) + model.prior_at().log_prob(z)


def log_evidence(model: VAE, x: Tensor, rule: Rule, rows: int = 50) -> Tensor:
    """log p(x) = log of the integral of p(x, z) over z, (N,), by a rule on the latent space; few rows at a time."""
    z, log_w = rule
    with torch.no_grad():
        return torch.cat([(log_joint(model, some, z) + log_w.unsqueeze(1)).logsumexp(0) for some in x.split(rows)])
