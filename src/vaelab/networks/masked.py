"""How an encoder tells what is missing from what is 0."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..part import Part


class Masked(Part):
    """network([x with 0 for NaN, whether x was observed]): the mask beside x, along the first dimension of a row.

    Shapes: x (*lead, *inputs), NaN where missing, to (*lead, 2 inputs[0], *inputs[1:]), which is what `network` reads.
    Nazábal et al. 2020; Collier et al. 2020, VAEs in the presence of missing data, section 3.

    >>> networks.Masked(networks.Linear(10, 2), (5,))(torch.tensor([[0.0, torch.nan, 1, 2, 3]])).shape
    torch.Size([1, 2])
    """

    reads_missing = True

    def __init__(self, network: nn.Module, inputs: Sequence[int]) -> None:
        super().__init__()
        self.network, self.inputs = network, tuple(inputs)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Apply the network to the row and its mask."""
        there = ~x.isnan()
        row = torch.cat([torch.where(there, x, 0.0), there.to(x.dtype)], -len(self.inputs))
        out: Tensor = self.network(row) if condition is None else self.network(row, condition)
        return out
