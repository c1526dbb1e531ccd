"""Invertible maps of a column of real numbers, with their log-slopes; chosen by how Gaussian they make it.

A map is a name and its numbers, a float64 tensor: t = forward(raw), raw = inverse(t), log_slope(raw) = log dt/draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

KNOTS = 16  # of a spline, at most; one for so many rows:
ROWS_PER_KNOT = 25
POWERS = torch.linspace(-2, 4, 25, dtype=torch.float64)  # of Yeo-Johnson, tried one by one
TINY = 1e-12


@dataclass(frozen=True)
class Map:
    """t = forward(raw, p) with inverse and log dt/draw; `p` are the numbers of the map."""

    forward: Callable[[Tensor, Tensor], Tensor]
    inverse: Callable[[Tensor, Tensor], Tensor]
    log_slope: Callable[[Tensor, Tensor], Tensor]


def _yeo_johnson(raw: Tensor, p: Tensor) -> Tensor:
    """((1 + x)^l - 1) / l for x >= 0, -((1 - x)^(2 - l) - 1) / (2 - l) below (Yeo & Johnson 2000, eq. 2.1)."""
    power = torch.where(raw >= 0, p[0], 2 - p[0])
    size = torch.log1p(raw.abs())
    safe = torch.where(power.abs() < TINY, 1.0, power)
    return raw.sign() * torch.where(power.abs() < TINY, size, torch.expm1(safe * size) / safe)


def _yeo_johnson_back(t: Tensor, p: Tensor) -> Tensor:
    power = torch.where(t >= 0, p[0], 2 - p[0])
    safe = torch.where(power.abs() < TINY, 1.0, power)
    # a power below 0 has a ceiling, which no raw number reaches and a draw may pass
    size = torch.where(power.abs() < TINY, t.abs(), torch.log1p((safe * t.abs()).clamp(min=TINY - 1)) / safe)
    return t.sign() * torch.expm1(size)


def _yeo_johnson_slope(raw: Tensor, p: Tensor) -> Tensor:
    return (torch.where(raw >= 0, p[0], 2 - p[0]) - 1) * torch.log1p(raw.abs())


def _piece(at: Tensor, knots: Tensor) -> Tensor:
    # counted, not searched: knots are few, and a decoder with this sum can be written down for other programs
    return ((knots < at.unsqueeze(-1)).sum(-1) - 1).clamp(0, len(knots) - 2)


def _spline(raw: Tensor, p: Tensor) -> Tensor:
    """A monotone rational-quadratic spline, straight beyond its ends (Gregory & Delbourgo 1982; Durkan et al. 2019)."""
    x, y, d = p
    k = _piece(raw, x)
    width, rise = x[k + 1] - x[k], y[k + 1] - y[k]
    s, u = rise / width, ((raw - x[k]) / width).clamp(0, 1)
    v = u * (1 - u)
    inside = y[k] + rise * (s * u * u + d[k] * v) / (s + (d[k] + d[k + 1] - 2 * s) * v)
    beyond = torch.where(raw < x[0], (raw - x[0]) * d[0], ((raw - x[-1]) * d[-1]).clamp(min=0))
    return inside + beyond


def _spline_back(t: Tensor, p: Tensor) -> Tensor:
    x, y, d = p
    k = _piece(t, y)
    width, rise = x[k + 1] - x[k], y[k + 1] - y[k]
    s, h = rise / width, (t - y[k]).clamp(min=0).minimum(rise)
    bend = h * (d[k] + d[k + 1] - 2 * s)
    a, b, c = rise * (s - d[k]) + bend, rise * d[k] - bend, -s * h
    u = 2 * c / (-b - (b * b - 4 * a * c).clamp(min=0).sqrt())
    beyond = torch.where(t < y[0], (t - y[0]) / d[0], ((t - y[-1]) / d[-1]).clamp(min=0))
    return x[k] + width * u + beyond


def _spline_slope(raw: Tensor, p: Tensor) -> Tensor:
    x, y, d = p
    k = _piece(raw, x)
    width = x[k + 1] - x[k]
    s, u = (y[k + 1] - y[k]) / width, ((raw - x[k]) / width).clamp(0, 1)
    v = u * (1 - u)
    top = d[k + 1] * u * u + 2 * s * v + d[k] * (1 - u) ** 2
    return 2 * s.log() + top.log() - 2 * (s + (d[k] + d[k + 1] - 2 * s) * v).log()


def _logit_slope(raw: Tensor, p: Tensor) -> Tensor:
    return (p[1] - p[0]).log() - (raw - p[0]).log() - (p[1] - raw).log()


MAPS: dict[str, Map] = {
    "identity": Map(lambda raw, p: raw, lambda t, p: t, lambda raw, p: torch.zeros_like(raw)),
    "log": Map(lambda raw, p: raw.log(), lambda t, p: t.exp(), lambda raw, p: -raw.log()),
    "logit": Map(
        lambda raw, p: ((raw - p[0]) / (p[1] - raw)).log(),
        lambda t, p: p[0] + (p[1] - p[0]) * torch.sigmoid(t),
        _logit_slope,
    ),
    "yeo-johnson": Map(_yeo_johnson, _yeo_johnson_back, _yeo_johnson_slope),
    "spline": Map(_spline, _spline_back, _spline_slope),
}


def spline_of(raw: Tensor) -> Tensor | None:
    """Return the knots (3, n) of a spline that sends quantiles of these numbers to those of N(0, 1): x, y, slopes."""
    number = min(KNOTS, len(raw) // ROWS_PER_KNOT)
    if number < 4:
        return None
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)
    edge = min(2.5, -normal.icdf(torch.tensor(4 / len(raw), dtype=torch.float64)).item())
    at = torch.linspace(-edge, edge, number, dtype=torch.float64)
    ordered = raw.sort().values
    x = ordered[(normal.cdf(at) * (len(raw) - 1)).round().long()]
    # equal numbers have one place, the middle of the ranks that they take; near ones would make a wall
    gap = 1e-3 * (x[-1] - x[0])
    kept = [0]
    for i in range(1, number):
        if x[i] - x[kept[-1]] > gap:
            kept.append(i)
    if len(kept) < 4:
        return None
    x = x[kept]
    below = torch.searchsorted(ordered, x).double() + torch.searchsorted(ordered, x, right=True).double()
    y = normal.icdf((below / (2 * len(raw))).clamp(0.5 / len(raw), 1 - 0.5 / len(raw)))
    if not bool((y.diff() > 1e-3).all()):
        return None
    s = y.diff() / x.diff()
    inner = 2 * s[1:] * s[:-1] / (s[1:] + s[:-1])  # harmonic means keep the spline monotone
    return torch.stack([x, y, torch.cat([s[:1], inner, s[-1:]])])


def log_likelihood(name: str, p: Tensor, raw: Tensor) -> float:
    """Return the log-density in nats of all these numbers, were t Gaussian with the mean and deviation that it has."""
    t = MAPS[name].forward(raw, p)
    variance = t.var(correction=0)
    if not bool(torch.isfinite(variance)) or variance <= 0:
        return -math.inf
    total = MAPS[name].log_slope(raw, p).sum() - len(raw) / 2 * (math.log(2 * math.pi) + variance.log() + 1)
    return total.item()


def choose(raw: Tensor) -> tuple[str, Tensor]:
    """Return the map under which these numbers (n,) are most Gaussian, by BIC: 2 log p - (its numbers) log n.

    Tried are the identity, Yeo-Johnson powers and a spline through quantiles. The density is that of the raw numbers,
    its Jacobian included, so a map gains nothing by squeezing.
    """
    none = torch.zeros(0, dtype=torch.float64)
    tried: list[tuple[str, Tensor, int]] = [("identity", none, 0)]
    if len(raw) >= 2 * ROWS_PER_KNOT:
        # the power knows no unit but 1: for numbers far from it the spline is there
        tried += [("yeo-johnson", power.reshape(1), 1) for power in POWERS]
        if (knots := spline_of(raw)) is not None:
            tried.append(("spline", knots, 2 * knots.shape[1]))
    price = math.log(max(2, len(raw)))
    name, p, _ = max(tried, key=lambda item: 2 * log_likelihood(item[0], item[1], raw) - item[2] * price)
    return name, p
