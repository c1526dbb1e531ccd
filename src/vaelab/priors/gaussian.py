"""The Gaussian prior, the default."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from ..conditional import Conditional
from ..errors import UsageError


class Gaussian(Conditional):
    """p(z) = N(z; loc, scale² I), by default N(0, I).

    >>> round(priors.Gaussian(2)().log_prob(torch.zeros(2)).item(), 4)  # -log(2 pi)
    -1.8379
    """

    unit: Tensor

    def __init__(self, latent_dim: int, loc: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        if latent_dim < 1 or not scale > 0:
            raise UsageError(f"priors.Gaussian: needs latent_dim >= 1 and scale > 0, got {latent_dim} and {scale}.")
        self.latent_dim, self.loc, self.scale = latent_dim, loc, scale
        self.register_buffer("unit", torch.ones(latent_dim))  # carries the type and the device of the model

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(z); a condition does not move it."""
        normal = Normal(self.loc * self.unit, self.scale * self.unit, validate_args=False)
        return Independent(normal, 1, validate_args=False)
