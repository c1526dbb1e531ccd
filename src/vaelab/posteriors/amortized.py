"""Amortised inference: one network gives the parameters of q(z | x) for every x."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..conditional import Conditional
from ..errors import UsageError


class Amortized(Conditional):
    """q(z | x) = family(network(x)): the parameters are a function of x, not optimised for each x.

    Kingma & Welling 2013, section 2.1 (recognition model). A family says through `outputs` how many numbers its
    network must give per row. Shapes: x (B, *X); the distribution has batch shape (B,) and event shape (latent_dim,).

    >>> posteriors.FullGaussian.outputs(3)  # what the network must give: 3 means, 3 deviations, 3 below the diagonal
    9
    """

    def __init__(self, network: nn.Module, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 1:
            raise UsageError(f"latent_dim must be at least 1, got {latent_dim}.")
        self.network, self.latent_dim = network, latent_dim

    @classmethod
    def outputs(cls, latent_dim: int, **arguments: Any) -> int:
        """Return how many numbers per row the network must give, for these constructor arguments."""
        return latent_dim

    def parameters_at(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Return network(x), checked to have shape (B, outputs), or (K, B, outputs) for K draws at B rows."""
        plain = {k: v for k, v in self.arguments().items() if k not in ("network", "latent_dim")}
        needed = self.outputs(self.latent_dim, **plain)
        out = self.called(self.network, x, condition)
        if not 2 <= out.ndim <= x.ndim or out.shape != (*x.shape[: out.ndim - 1], needed):
            raise UsageError(
                f"{type(self.network).__name__} gave {tuple(out.shape)} for {x.shape[0]} rows; "
                f"{type(self).__name__} with latent_dim {self.latent_dim} needs {(x.shape[0], needed)}. "
                f"Give the network outputs={needed}."
            )
        return out


def constant_parameter(size: int) -> nn.Parameter:
    """Return a parameter that no x moves: the log-deviations of a posterior with one covariance for all rows."""
    return nn.Parameter(torch.zeros(size))
