"""How an encoder reads a table whose columns are of different kinds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..part import Part


class Typed(Part):
    """network(columns side by side): a number as it stands, a count as log(1 + x), a category as a unit vector.

    `categories` says for each column how many categories it has, 0 for a number, -1 for a count.

    Shapes: x (*lead, columns) to (*lead, sum over columns of the categories, or 1).

    >>> network = networks.Typed(networks.Linear(5, 2), (0, -1, 3))
    >>> network(torch.tensor([[0.5, 1000.0, 2.0]])).shape
    torch.Size([1, 2])
    """

    def __init__(self, network: nn.Module, categories: Sequence[int]) -> None:
        super().__init__()
        self.network, self.categories = network, tuple(categories)
        if any(number < -1 for number in self.categories):
            raise UsageError(f"Typed: categories are numbers from -1 on, got {self.categories}.")

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Apply the network to the columns as it can read them."""
        seen = []
        for column, number in zip(x.unbind(-1), self.categories):
            if number > 0:
                seen.append(nn.functional.one_hot(column.long(), number).to(x.dtype))
            else:
                seen.append((torch.log1p(column) if number else column).unsqueeze(-1))
        row = torch.cat(seen, -1)
        out: Tensor = self.network(row) if condition is None else self.network(row, condition)
        return out
