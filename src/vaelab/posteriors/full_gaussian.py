"""The Gaussian posterior with a covariance of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from ..conditional import bounded
from ..errors import UsageError
from .amortized import Amortized, constant_parameter


class FullGaussian(Amortized):
    """q(z | x) = N(z; mu(x), L(x) L(x)'), L lower triangular with a positive diagonal exp(log-deviation).

    `scale`: "network" (the network gives mu, log diagonal, and the D (D - 1) / 2 entries below it) or "constant" (one
    learned L for all rows). Kingma & Welling 2019, section 2.5.1.

    >>> q = posteriors.FullGaussian(networks.MLP(5, posteriors.FullGaussian.outputs(2)), 2)
    >>> q(torch.zeros(7, 5)).scale_tril.shape
    torch.Size([7, 2, 2])
    """

    def __init__(self, network: nn.Module, latent_dim: int, scale: str = "network") -> None:
        super().__init__(network, latent_dim)
        if scale not in ("network", "constant"):
            raise UsageError(f"posteriors.FullGaussian: scale is 'network' or 'constant', got {scale!r}.")
        self.scale = scale
        if scale == "constant":
            self.factor = constant_parameter(latent_dim * (latent_dim + 1) // 2)

    @classmethod
    def outputs(cls, latent_dim: int, **arguments: Any) -> int:
        """Return latent_dim for mu, and as many as a triangle has for L unless it is constant."""
        return latent_dim + (0 if arguments.get("scale") == "constant" else latent_dim * (latent_dim + 1) // 2)

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return q(z | x) for x of shape (B, *X)."""
        assert given is not None
        d = self.latent_dim
        out = self.parameters_at(given, condition)
        loc, factor = out[..., :d], out[..., d:]
        if self.scale == "constant":
            factor = self.factor.expand(*loc.shape[:-1], -1)
        below = loc.new_zeros(*loc.shape[:-1], d, d)
        row, column = torch.tril_indices(d, d, offset=-1, device=loc.device)
        below[..., row, column] = factor[..., d:]
        scale_tril = below + torch.diag_embed(bounded(factor[..., :d]).exp())
        return MultivariateNormal(loc, scale_tril=scale_tril, validate_args=False)
