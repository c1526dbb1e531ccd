"""Hyperbolic space in normal coordinates at its origin, and the normal distributions on it.

A point z in R^D stands for exp_0(z): its direction is that of the geodesic from the origin, its length the distance.
No point has an edge to fall over, as points of a ball have, and networks read what the logarithm at 0 would give them.
Densities are against dz on R^D; against the Riemannian volume they are lower by `log_volume`, for q and p alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from ..noise import Noise
from .moments import FixedPointMoments, points
from .reparameterize import register_draw

FAR = 10.0  # lengths above which exponentials are kept apart
NODES = 4096  # of the table of distances


def _length(z: Tensor) -> Tensor:
    return torch.linalg.vector_norm(z, dim=-1, keepdim=True).clamp(min=torch.finfo(z.dtype).tiny ** 0.5)


def translate(by: Tensor, z: Tensor, curvature: float) -> Tensor:
    """by (+) z: the isometry along the geodesic from 0 to `by`, which takes 0 there; broadcasts over (*lead, D).

    The Moebius addition of the ball of curvature -c (Mathieu et al. 2019, eq. 1), as a Lorentz boost, exponentials
    factored out. It carries vectors at 0 by parallel transport, so exp_by(t) = by (+) t and log_by(z) = (-by) (+) z.
    """
    root = math.sqrt(curvature)
    along, across = _length(by), _length(z)
    a, s, e, f = root * along, root * across, by / along, z / across
    p, q = (-2 * a).exp(), (-2 * s).exp()
    plus = 0.5 * (f + e).square().sum(-1, keepdim=True)  # 1 + cos of the angle, which does not cancel near -1
    on = 0.25 * (plus * (1 - p * q) + (2 - plus) * (q - p))
    off = 0.5 * (1 - q) * (-a).exp()
    way = on * e + off * ((f + e) - plus * e)  # times exp(a + s): the sinh of the distance, with its direction
    h, grown = _length(way), a + s
    near = torch.asinh(grown.clamp(max=FAR).exp() * h)
    far = grown + torch.log(h + (h.square() + (-2 * grown).exp()).sqrt())
    return torch.where(grown > FAR, far, near) / root * (way / h)


def log_volume(z: Tensor, curvature: float) -> Tensor:
    """(D - 1) log(sinh(s) / s), s = sqrt(c) |z|: log of the Riemannian volume of dz, (*lead) for z (*lead, D)."""
    s = (math.sqrt(curvature) * _length(z)).squeeze(-1)
    low, high = s.clamp(max=0.1).square(), s.clamp(min=0.1)
    series = low / 6 - low**2 / 180 + low**3 / 2835 - low**4 / 37800
    whole = high + torch.log1p(-(-2 * high).exp()) - (2 * high).log()
    return (z.shape[-1] - 1) * torch.where(s < 0.1, series, whole)


def to_ball(z: Tensor, curvature: float = 1.0) -> Tensor:
    """tanh(sqrt(c) |z| / 2) z / (sqrt(c) |z|): the same points in the Poincare ball of radius 1 / sqrt(c).

    >>> distributions.hyperbolic.to_ball(torch.tensor([[0.0, 2.0]])).norm() < 1  # tanh(1)
    tensor(True)
    """
    length, root = _length(z), math.sqrt(curvature)
    return torch.tanh(0.5 * root * length) / (root * length) * z


class WrappedNormal(FixedPointMoments):
    """z = loc (+) t, t ~ N(0, diag scale²): log q(z) = log N(t; 0, scale²) + log_volume(z) - log_volume(t).

    A normal vector in the tangent space at `loc`, in a frame carried there from 0, wrapped on hyperbolic space of
    curvature -c by the exponential map (Mathieu et al. 2019, eq. 3; Nagano et al. 2019). The density is against dz in
    normal coordinates, so that at loc = 0 it is the Gaussian itself. Shapes: loc and scale (*batch, D).

    >>> q = distributions.WrappedNormal(torch.zeros(7, 2), torch.ones(7, 2), 1.0)
    >>> round(q.log_prob(torch.zeros(7, 2))[0].item(), 4)  # -log(2 pi)
    -1.8379
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False  # draws come from explicit noise: distributions.draw

    def __init__(self, loc: Tensor, scale: Tensor, curvature: float) -> None:
        self.loc, self.scale, self.curvature = loc, scale, curvature
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def push(self, e: Tensor) -> Tensor:
        """Return z for standard noise e (*lead, *batch, D)."""
        return translate(self.loc, self.scale * e, self.curvature)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log q(value), (*lead), for value (*lead, D)."""
        t = translate(-self.loc, value, self.curvature)
        flat = -0.5 * ((t / self.scale).square() + math.log(2 * math.pi)) - self.scale.log()
        return flat.sum(-1) + log_volume(value, self.curvature) - log_volume(t, self.curvature)

    def fixed_draws(self) -> Tensor:
        """Return 128 fixed draws, (128, *batch, D)."""
        dims = self.event_shape[0]
        e = points(dims, self.loc).reshape(-1, *[1] * len(self.batch_shape), dims)
        return self.push(e.expand(-1, *self.loc.shape))


class RiemannianNormal(Distribution):
    """p(z) ~ exp(-|z|² / (2 scale²)) against the Riemannian volume: the entropy's maximum, |z| the distance from 0.

    Mathieu et al. 2019, eq. 2, centred at 0; here against dz, and so times exp(log_volume(z)). The normaliser, and the
    distribution function of |z| that draws invert, by quadrature. Batch shape as given, event shape (D,); `like` has
    the type and device.

    >>> p = distributions.RiemannianNormal(3, 1.0, 0.5, torch.zeros(()))
    >>> distributions.draw(p, 7, Noise.seeded(0)).shape
    torch.Size([7, 3])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(
        self, dims: int, curvature: float, scale: float, like: Tensor, batch_shape: Sequence[int] = ()
    ) -> None:
        self.dims, self.curvature, self.scale, self.like = dims, curvature, scale, like
        super().__init__(torch.Size(batch_shape), torch.Size([dims]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> RiemannianNormal:
        """Return the same distribution for each row of a batch."""
        return RiemannianNormal(self.dims, self.curvature, self.scale, self.like, batch_shape)

    def _log_radial(self, r: np.ndarray) -> np.ndarray:
        """log of sinh(sqrt(c) r)^(D-1) exp(-r² / (2 scale²)), the density of |z| but for its normaliser."""
        s = math.sqrt(self.curvature) * r
        with np.errstate(divide="ignore"):
            log_sinh = s + np.log1p(-np.exp(-2 * s)) - math.log(2)
        return (
            (self.dims - 1) * log_sinh - 0.5 * (r / self.scale) ** 2 if self.dims > 1 else -0.5 * (r / self.scale) ** 2
        )

    @property
    def _range(self) -> tuple[float, float]:
        """Between which distances all but 1e-30 of the mass lies."""
        centre = (self.dims - 1) * math.sqrt(self.curvature) * self.scale**2
        return max(0.0, centre - 12 * self.scale), centre + (math.sqrt(self.dims) + 12) * self.scale

    def _moment(self, power: int) -> tuple[float, float]:
        """Return log Z and E|z|^power, by Gauss-Legendre quadrature."""
        low, high = self._range
        t, weight = np.polynomial.legendre.leggauss(400)
        r = low + (high - low) * (t + 1) / 2
        log_f = self._log_radial(r)
        mass = weight * (high - low) / 2 * np.exp(log_f - log_f.max())
        return float(log_f.max() + math.log(mass.sum())), float((mass * r**power).sum() / mass.sum())

    @property
    def log_normaliser(self) -> float:
        """log of the integral of exp(-|z|² / (2 scale²)) over the space: area of the sphere times that over |z|."""
        area = math.log(2) + self.dims / 2 * math.log(math.pi) - math.lgamma(self.dims / 2)
        return area + self._moment(0)[0] - (self.dims - 1) / 2 * math.log(self.curvature)

    @property
    def mean(self) -> Tensor:
        """The origin."""
        return self.like.new_zeros(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """E|z|² / D in each dimension."""
        return self.like.new_full(self.batch_shape + self.event_shape, self._moment(2)[1] / self.dims)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value), (*lead), for value (*lead, D)."""
        energy = 0.5 * value.square().sum(-1) / self.scale**2
        return log_volume(value, self.curvature) - energy - self.log_normaliser

    def distances(self, u: Tensor) -> Tensor:
        """Return |z| whose distribution function is u, by a table."""
        r = np.linspace(*self._range, NODES)
        log_f = self._log_radial(r)
        f = np.exp(log_f - log_f.max())
        cumulative = np.concatenate([[0.0], np.cumsum(f[1:] + f[:-1])])
        found = np.interp(u.detach().cpu().double().numpy(), cumulative / cumulative[-1], r)
        return torch.as_tensor(found).to(u)


@register_draw(WrappedNormal)
def _wrapped_normal(d: WrappedNormal, samples: int, noise: Noise) -> Tensor:
    return d.push(noise.normal((samples, *d.batch_shape, *d.event_shape), d.loc))


@register_draw(RiemannianNormal)
def _riemannian_normal(d: RiemannianNormal, samples: int, noise: Noise) -> Tensor:
    e = noise.normal((samples, *d.batch_shape, d.dims), d.like)
    u = noise.uniform((samples, *d.batch_shape), d.like)
    return e / _length(e) * d.distances(u).unsqueeze(-1)
