"""Rules of quadrature in one or two dimensions: nodes (M, D) and log-weights (M,), in float64."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

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


def hermite(points: int, dims: int = 1, least: float = -60) -> Rule:
    """Gauss-Hermite for the expectation under N(0, I): exact for polynomials below degree 2 `points`.

    Nodes whose log-weight is below `least` are left out.
    """
    x, w = np.polynomial.hermite_e.hermegauss(points)
    nodes, log_w = _product(x, np.log(w / w.sum()), dims)
    keep = log_w > least
    return nodes[keep], log_w[keep]


def normal(reach: float, points: int, dims: int = 1) -> Rule:
    """The trapezoid rule for the expectation under N(0, I), on [-reach, reach].

    Where a function has poles at a distance a from the line, as networks of tanh have, its error falls as
    exp(-2 pi a / step), that of Gauss-Hermite with n nodes only as exp(-2 a sqrt(2 n)).
    """
    nodes, log_w = trapezoid(reach, points, dims)
    return nodes, log_w - 0.5 * (nodes.square().sum(1) + dims * math.log(2 * math.pi))
