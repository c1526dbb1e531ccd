"""The uniform prior on the unit sphere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..conditional import Conditional
from ..distributions import UniformSphere as UniformSphereDistribution
from ..errors import UsageError


class UniformSphere(Conditional):
    """p(z) = 1 / area on the sphere |z| = 1 in R^latent_dim (Davidson et al. 2018, section 3.1).

    Its density is one on the sphere: it goes with posteriors on the sphere, and with a plain autoencoder's codes it
    serves for draws alone.

    >>> z = distributions.draw(priors.UniformSphere(3)(), 2, Noise.seeded(0))
    >>> torch.allclose(z.norm(dim=-1), torch.ones(2))
    True
    """

    unit: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 2:
            raise UsageError(f"priors.UniformSphere: latent_dim must be at least 2, got {latent_dim}.")
        self.latent_dim = latent_dim
        self.register_buffer("unit", torch.ones(()))  # carries the type and the device of the model

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(z); a condition does not move it."""
        return UniformSphereDistribution(self.latent_dim, self.unit)
