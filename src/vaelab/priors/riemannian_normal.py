"""The prior of maximal entropy on hyperbolic space."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..conditional import Conditional
from ..distributions import RiemannianNormal as RiemannianNormalDistribution
from ..errors import UsageError


class RiemannianNormal(Conditional):
    """p(z) ~ exp(-d(0, z)² / (2 scale²)) against the volume of hyperbolic space of curvature -c.

    Mathieu et al. 2019, eq. 2, with the posterior `wrapped-normal` of the same curvature. Their wrapped normal at 0 is
    the prior `gaussian`. Raises UsageError unless curvature and scale are above 0.

    >>> priors.RiemannianNormal(2)().log_prob(torch.zeros(7, 2)).shape
    torch.Size([7])
    """

    unit: Tensor

    def __init__(self, latent_dim: int, curvature: float = 1.0, scale: float = 1.0) -> None:
        super().__init__()
        if latent_dim < 1 or not 0 < curvature < math.inf or not 0 < scale < math.inf:
            raise UsageError(
                "priors.RiemannianNormal: needs latent_dim >= 1, curvature and scale > 0, "
                f"got {latent_dim}, {curvature} and {scale}."
            )
        self.latent_dim, self.curvature, self.scale = latent_dim, curvature, scale
        self.register_buffer("unit", torch.ones(()))  # carries the type and the device of the model

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(z); a condition does not move it."""
        return RiemannianNormalDistribution(self.latent_dim, self.curvature, self.scale, self.unit)
