"""The posterior on the unit sphere."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..conditional import bounded
from ..distributions import VonMisesFisher as VonMisesFisherDistribution
from ..errors import UsageError
from .amortized import Amortized

LEAST, MOST = math.log(1e-3), math.log(1e5)


class VonMisesFisher(Amortized):
    """q(z | x) = C(k) exp(k mu(x).z) on the sphere |z| = 1 in R^latent_dim: mu = n / |n|, log k by the network.

    Davidson et al. 2018 (S-VAE), section 3; k is kept between 1e-3 and 1e5. It goes with the prior `uniform-sphere`,
    whose density is one on the sphere too; with another prior there is no bound, and what needs one says so. Shapes:
    x (B, *X), z (K, B, latent_dim) with latent_dim - 1 degrees of freedom. Raises UsageError for latent_dim < 2.

    >>> q = posteriors.VonMisesFisher(networks.MLP(5, 4), 3)(torch.zeros(7, 5))
    >>> torch.allclose(distributions.draw(q, 2, Noise.seeded(0)).norm(dim=-1), torch.ones(2, 7))
    True
    """

    def __init__(self, network: nn.Module, latent_dim: int) -> None:
        super().__init__(network, latent_dim)
        if latent_dim < 2:
            raise UsageError(f"posteriors.VonMisesFisher: latent_dim must be at least 2, got {latent_dim}.")

    @classmethod
    def outputs(cls, latent_dim: int, **arguments: Any) -> int:
        """Return latent_dim for the direction and one for the concentration."""
        return latent_dim + 1

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return q(z | x) for x of shape (B, *X)."""
        assert given is not None
        out = self.parameters_at(given, condition)
        n = out[..., : self.latent_dim]
        loc = n / torch.linalg.vector_norm(n, dim=-1, keepdim=True).clamp(min=torch.finfo(n.dtype).tiny)
        half = (MOST - LEAST) / 2
        # a network that gives 0 says a k of about latent_dim
        start = math.log(self.latent_dim) - (MOST + LEAST) / 2
        log_k = (MOST + LEAST) / 2 + bounded(out[..., self.latent_dim] + start, half)
        return VonMisesFisherDistribution(loc, log_k.exp())
