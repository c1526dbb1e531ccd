"""The posterior on hyperbolic space."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..conditional import bounded
from ..distributions import WrappedNormal as WrappedNormalDistribution
from ..errors import UsageError
from .amortized import Amortized

REACH = 10.0  # how far from the origin a centre may lie, in units of 1 / sqrt(c): at the ball's edge, to float32


class WrappedNormal(Amortized):
    """q(z | x) = N(t; 0, diag sigma(x)²) wrapped at mu(x) on hyperbolic space of curvature -c, z = mu (+) t.

    Mathieu et al. 2019 (Poincare VAE), eq. 3. z is in normal coordinates at the origin (`distributions.hyperbolic`; its
    to_ball gives points of the ball), in which the wrapped normal prior at 0 is the prior `gaussian`; that of maximal
    entropy is `riemannian-normal`. q and p are densities against the same dz; the KL is sampled. Shapes: x (B, *X),
    z (K, B, latent_dim). Raises UsageError for a `curvature` c that is not above 0.

    >>> q = posteriors.WrappedNormal(networks.MLP(5, 4), 2, curvature=0.5)(torch.zeros(7, 5))
    >>> q.event_shape
    torch.Size([2])
    """

    def __init__(self, network: nn.Module, latent_dim: int, curvature: float = 1.0) -> None:
        super().__init__(network, latent_dim)
        if not 0 < curvature < math.inf:
            raise UsageError(f"posteriors.WrappedNormal: curvature (-c, by c) must be above 0, got {curvature}.")
        self.curvature = curvature

    @classmethod
    def outputs(cls, latent_dim: int, **arguments: Any) -> int:
        """Return 2 latent_dim: the centre, and the log-deviations in its tangent space."""
        return 2 * latent_dim

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return q(z | x) for x of shape (B, *X)."""
        assert given is not None
        centre, log_scale = self.parameters_at(given, condition).chunk(2, -1)
        length = torch.linalg.vector_norm(centre, dim=-1, keepdim=True).clamp(min=1e-12)
        loc = centre * (bounded(length, REACH / math.sqrt(self.curvature)) / length)
        return WrappedNormalDistribution(loc, bounded(log_scale).exp(), self.curvature)
