"""The von Mises-Fisher distribution on the unit sphere, with draws that are exact and differentiable."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..noise import Noise
from .bessel import log_bessel
from .kl import register_kl
from .reparameterize import register_draw
from .sphere import UniformSphere

NODES = 512  # of the table of angles
REACH = 12.0  # deviations on either side of the most probable angle


class VonMisesFisher(Distribution):
    """q(z) = C exp(k mu.z) on |z| = 1 in R^D, log C = (D/2 - 1) log k - D/2 log 2 pi - log I_(D/2-1)(k).

    A density on the sphere, not on R^D (Davidson et al. 2018, section 3.1). Shapes: loc (*batch, D), unit vectors,
    D >= 2; concentration k (*batch), above 0. A draw is z = cos(a) mu + sin(a) v: the angle a by the inverse of its
    distribution function, tabulated, at one uniform number, v a uniform direction orthogonal to mu. The gradient of a
    in k is -(dF/dk) / F', so no rejection (their Algorithm 1) and no correction for it is needed.

    >>> q = distributions.VonMisesFisher(torch.tensor([0.0, 1.0]), torch.tensor(1e-3))
    >>> round(q.log_prob(torch.tensor([1.0, 0.0])).item(), 4)  # nearly uniform: -log(2 pi)
    -1.8379
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False  # draws come from explicit noise: distributions.draw
    measure: ClassVar[str] = "sphere"

    def __init__(self, loc: Tensor, concentration: Tensor) -> None:
        self.loc, self.concentration = loc, concentration
        self.dims = loc.shape[-1]
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def _bessel(self) -> tuple[Tensor, Tensor]:
        return log_bessel(self.dims / 2 - 1, self.concentration)

    @property
    def log_scaled_normaliser(self) -> Tensor:
        """log C + k in float64, (*batch): what a density is at mu."""
        k = self.concentration.double()
        half = self.dims / 2
        return (half - 1) * k.log() - half * math.log(2 * math.pi) - self._bessel()[0]

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log q(value) for unit vectors (*lead, D): (*lead); k (mu.z - 1) = -k |z - mu|² / 2 does not cancel."""
        apart = (value - self.loc).square().sum(-1)
        return self.log_scaled_normaliser.to(value.dtype) - 0.5 * self.concentration * apart

    @property
    def mean(self) -> Tensor:
        """A mu, A = I_(D/2)(k) / I_(D/2-1)(k): within the ball, not on the sphere."""
        return self._bessel()[1].to(self.loc.dtype).unsqueeze(-1) * self.loc

    @property
    def variance(self) -> Tensor:
        """Of each dimension: A / k + (1 - D A / k - A²) mu²."""
        a, k = self._bessel()[1].unsqueeze(-1), self.concentration.double().unsqueeze(-1)
        return (a / k + (1 - self.dims * a / k - a * a) * self.loc.double().square()).clamp(min=0).to(self.loc.dtype)

    def angle(self, u: Tensor) -> Tensor:
        """Return the angle a with F(a) = u, F' proportional to exp(k cos a) sin(a)^(D-2); u and result (K, *batch)."""
        k = self.concentration.double()
        u = u.double().contiguous()
        with torch.no_grad():
            a, f, f_k = _invert(k, float(self.dims - 2), u)
        # the same value, with the derivative of the implicit function
        return a - f_k / f * (k - k.detach())


def _invert(k: Tensor, m: float, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return a with F(a) = u, F'(a) and dF/dk(a), from cumulative Hermite quadrature on a grid about the mode."""
    root = (m * m + 4 * k * k).sqrt()
    top = 2 * k / (m + root)  # cosine of the most probable angle, from k sin² = m cos
    mode = torch.acos(top.clamp(max=1)) if m else torch.zeros_like(k)
    reach = REACH / (k * top + k / top).sqrt()
    low, high = (mode - reach).clamp(min=0), (mode + reach).clamp(max=math.pi)
    grid = low.unsqueeze(-1) + (high - low).unsqueeze(-1) * torch.linspace(0, 1, NODES, dtype=k.dtype, device=k.device)
    h = ((high - low) / (NODES - 1)).unsqueeze(-1)
    sine = grid.sin().clamp(min=0)
    log_sine = sine.log()
    height = k.unsqueeze(-1) * (grid.cos() - 1) + (m * log_sine if m else 0.0)
    most = height.amax(-1, keepdim=True)
    shape = (height - most).exp()
    # F' as the slope of F, and F'' for the corrected trapezoid rule, whose error is of fourth order
    bend = -k.unsqueeze(-1) * sine * shape
    if m:
        flatter = (k.unsqueeze(-1) * (grid.cos() - 1) + ((m - 1) * log_sine if m > 1 else 0.0) - most).exp()
        bend = bend + m * grid.cos() * flatter
    total = _cumulative(shape, bend, h)
    whole = total[..., -1:]
    centred = grid.cos() - (_cumulative(grid.cos() * shape, grid.cos() * bend - sine * shape, h)[..., -1:] / whole)
    moved = _cumulative(centred * shape, centred * bend - sine * shape, h) / whole
    cdf, pdf = total / whole, shape / whole
    # (K, *batch) -> (*batch, K) and back, for the search along the grid
    target = u.movedim(0, -1).contiguous() if u.ndim > 1 else u
    cell = torch.searchsorted(cdf.contiguous(), target).clamp(1, NODES - 1)

    def ends(values: Tensor) -> tuple[Tensor, Tensor]:
        return values.gather(-1, cell - 1), values.gather(-1, cell)

    (f0, f1), (d0, d1) = ends(cdf), ends(pdf)
    t = ((target - f0) / (f1 - f0).clamp(min=torch.finfo(k.dtype).tiny)).clamp(0, 1)
    for _ in range(6):  # Newton's method on the cubic of the cell, kept within it
        value, slope = _hermite(t, f0, f1, d0 * h, d1 * h)
        t = (t - (value - target) / slope.clamp(min=1e-300)).clamp(0, 1)
    _, slope = _hermite(t, f0, f1, d0 * h, d1 * h)
    (g0, g1), (e0, e1) = ends(moved), ends(centred * pdf)
    f_k, _ = _hermite(t, g0, g1, e0 * h, e1 * h)
    a = grid.gather(-1, cell - 1) + t * h
    f = (slope / h).clamp(min=1e-300)
    return tuple(v.movedim(-1, 0) if u.ndim > 1 else v for v in (a, f, f_k))  # type: ignore[return-value]


def _cumulative(f: Tensor, slope: Tensor, h: Tensor) -> Tensor:
    """The integral of f up to each node: the trapezoid rule with the slopes of f at the ends of each cell."""
    cells = 0.5 * h * (f[..., :-1] + f[..., 1:]) + h * h / 12 * (slope[..., :-1] - slope[..., 1:])
    return torch.nn.functional.pad(cells.cumsum(-1), (1, 0))


def _hermite(t: Tensor, f0: Tensor, f1: Tensor, d0: Tensor, d1: Tensor) -> tuple[Tensor, Tensor]:
    """The cubic with these values and slopes at 0 and 1, and its slope, at t."""
    c, b = 3 * (f1 - f0) - 2 * d0 - d1, d0 + d1 - 2 * (f1 - f0)
    return f0 + t * (d0 + t * (c + t * b)), d0 + t * (2 * c + 3 * t * b)


@register_draw(VonMisesFisher)
def _von_mises_fisher(d: VonMisesFisher, samples: int, noise: Noise) -> Tensor:
    u = noise.uniform((samples, *d.batch_shape), d.loc)
    e = noise.normal((samples, *d.batch_shape, d.dims), d.loc)
    across = e - (e * d.loc).sum(-1, keepdim=True) * d.loc  # orthogonal to mu, and uniform in direction
    across = across / torch.linalg.vector_norm(across, dim=-1, keepdim=True)
    a = d.angle(u).to(d.loc.dtype).unsqueeze(-1)
    return a.cos() * d.loc + a.sin() * across


@register_kl(VonMisesFisher, UniformSphere)
def _to_uniform(q: VonMisesFisher, p: UniformSphere) -> Tensor:
    """k A + log C + log area (Davidson et al. 2018, eq. 8); as (log C + k) - k (1 - A), which does not cancel."""
    k = q.concentration.double()
    kl = q.log_scaled_normaliser - k * (1 - q._bessel()[1]) + p.log_area
    return kl.to(q.loc.dtype)
