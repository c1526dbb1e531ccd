"""log I_nu(x), the modified Bessel function, for every order and argument that a sphere needs."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import torch
from torch import Tensor

LIFT = 20  # orders above nu at which the expansion is used
TERMS = 10


@cache
def _debye() -> list[list[float]]:
    """Coefficients of the polynomials u_0 ... u_TERMS in t, lowest power first (DLMF 10.41.9)."""
    polynomials = [[Fraction(1)]]
    for _ in range(TERMS):
        u = polynomials[-1]
        new = [Fraction(0)] * (len(u) + 3)
        for power, c in enumerate(u):
            new[power + 1] += c * power / 2 + c / (8 * (power + 1))
            new[power + 3] -= c * power / 2 + 5 * c / (8 * (power + 3))
        polynomials.append(new)
    return [[float(c) for c in u] for u in polynomials]


def _expansion(order: float, x: Tensor) -> Tensor:
    """log I_order(x) - x by the expansion that is uniform in x (DLMF 10.41.3), for a large order."""
    root = torch.sqrt(order * order + x * x)
    t = order / root
    series = torch.zeros_like(x)
    for k, u in reversed(list(enumerate(_debye()))):
        value = torch.zeros_like(x)
        for c in reversed(u):
            value = value * t + c
        series = series + value / order**k
    # root - x = order² / (root + x) does not cancel
    exponent = order * order / (root + x) + order * torch.log(x / (order + root))
    return exponent - 0.5 * torch.log(2 * math.pi * root) + torch.log(series)


def log_bessel(order: float, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return log I_order(x) - x and the ratio I_(order+1)(x) / I_order(x), for x > 0 and order >= 0, in float64.

    The expansion gives both at order + 20; the recurrence I_(n-1) / I_n = 2 n / x + I_(n+1) / I_n, stable downwards,
    brings them to the order. Relative errors are below 1e-12.

    >>> value, ratio = distributions.bessel.log_bessel(0.5, torch.tensor([2.0]).double())
    >>> torch.allclose(ratio, 1 / torch.tanh(torch.tensor(2.0).double()) - 0.5)
    True
    """
    x = x.double()
    top = float(order + LIFT)
    value = _expansion(top, x)
    ratio = (_expansion(top + 1, x) - value).exp()
    for step in range(LIFT):
        above = 2 * (top - step) / x + ratio  # I_(n-1) / I_n for n = top - step
        value = value + above.log()
        ratio = 1 / above
    return value, ratio
