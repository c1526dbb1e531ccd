"""How an encoder reads counts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..part import Part


class Log1p(Part):
    """network(log(1 + x)): counts, which spread over decades, on a scale that a network can read.

    >>> networks.Log1p(networks.Linear(5, 2))(torch.full((7, 5), 1e6)).shape
    torch.Size([7, 2])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Apply the network to log(1 + x), x >= 0."""
        seen = torch.log1p(x)
        out: Tensor = self.network(seen) if condition is None else self.network(seen, condition)
        return out
