"""The uniform distribution on the unit sphere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..noise import Noise
from .reparameterize import register_draw


class UniformSphere(Distribution):
    """p(z) = 1 / area of the sphere |z| = 1 in R^D, area 2 pi^(D/2) / Gamma(D/2): a density on the sphere, not on R^D.

    Batch shape as given, event shape (D,), D >= 2; `like` has the type and device. Draws are z = e / |e|, e ~ N(0, I).
    That a value lies on the sphere is not checked: what was rounded would be refused.

    >>> p = distributions.UniformSphere(2, torch.zeros(()))
    >>> round(p.log_prob(torch.tensor([0.6, 0.8])).item(), 4)  # -log(2 pi)
    -1.8379
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False  # draws come from explicit noise: distributions.draw
    measure: ClassVar[str] = "sphere"

    def __init__(self, dims: int, like: Tensor, batch_shape: Sequence[int] = ()) -> None:
        self.dims, self.like = dims, like
        super().__init__(torch.Size(batch_shape), torch.Size([dims]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> UniformSphere:
        """Return the same distribution for each row of a batch."""
        return UniformSphere(self.dims, self.like, batch_shape)

    @property
    def mean(self) -> Tensor:
        """The centre, which does not lie on the sphere."""
        return self.like.new_zeros(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """1 / D in each dimension."""
        return self.like.new_full(self.batch_shape + self.event_shape, 1 / self.dims)

    @property
    def log_area(self) -> float:
        """log of the area of the sphere."""
        return math.log(2) + self.dims / 2 * math.log(math.pi) - math.lgamma(self.dims / 2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return -log area for each value (*lead, D): (*lead)."""
        lead = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return value.new_full(lead, -self.log_area)


@register_draw(UniformSphere)
def _uniform_sphere(d: UniformSphere, samples: int, noise: Noise) -> Tensor:
    e = noise.normal((samples, *d.batch_shape, d.dims), d.like)
    length = torch.linalg.vector_norm(e, dim=-1, keepdim=True)
    first = torch.eye(d.dims, dtype=e.dtype, device=e.device)[0]  # where noise at temperature 0 gives no direction
    return torch.where(length > 0, e / length.clamp(min=torch.finfo(e.dtype).tiny), first)
