"""The diagonal Gaussian posterior, the default."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from ..conditional import bounded
from ..errors import UsageError
from .amortized import Amortized, constant_parameter


class Gaussian(Amortized):
    """q(z | x) = N(z; mu(x), diag sigma(x)²).

    `scale`: "network" (the network gives mu, log sigma: 2 latent_dim numbers) or "constant" (one learned sigma for all
    rows, as the exact posterior of a linear model has it). Kingma & Welling 2013, eq. 9.

    >>> q = posteriors.Gaussian(networks.MLP(5, posteriors.Gaussian.outputs(2)), 2)
    >>> q(torch.zeros(7, 5)).event_shape
    torch.Size([2])
    """

    def __init__(self, network: nn.Module, latent_dim: int, scale: str = "network") -> None:
        super().__init__(network, latent_dim)
        if scale not in ("network", "constant"):
            raise UsageError(f"posteriors.Gaussian: scale is 'network' or 'constant', got {scale!r}.")
        self.scale = scale
        if scale == "constant":
            self.log_scale = constant_parameter(latent_dim)

    @classmethod
    def outputs(cls, latent_dim: int, **arguments: Any) -> int:
        """Return 2 latent_dim, or latent_dim with a constant scale."""
        return latent_dim if arguments.get("scale") == "constant" else 2 * latent_dim

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return q(z | x) for x of shape (B, *X)."""
        assert given is not None
        out = self.parameters_at(given, condition)
        if self.scale == "constant":
            loc, log_scale = out, self.log_scale.expand_as(out)
        else:
            loc, log_scale = out.chunk(2, -1)
        return Independent(Normal(loc, bounded(log_scale).exp(), validate_args=False), 1, validate_args=False)
