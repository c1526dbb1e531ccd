"""How an encoder reads a table whose columns are of different kinds, and what is missing in it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..data.fields import SPIKE, WIDE
from ..errors import UsageError
from ..part import Part

READS = ("number", "count", "grid", "spike", "category")
RANK = 32  # numbers that one of many categories is read as


def _categories(column: str) -> int:
    """Return N of "category=N", else 0. Raises UsageError for what is no way to read a column."""
    name, equals, number = column.partition("=")
    if name not in READS or bool(equals) != (name == "category") or (equals and not number.isdecimal()):
        raise UsageError(f"Typed: a column is read as {', '.join(READS)}=N, got {column!r}.")
    return int(number) if equals else 0


class Typed(Part):
    """network(columns side by side), and beside each number whether it was observed.

    `columns` says how each is read: "number" as it stands, "count" as log(1 + x), "grid" (0 .. 1) as 4x - 2, "spike" as
    whether it is at its spike, and its number elsewhere; "category=N" as a unit vector, or, where N exceeds 256, as a
    learned vector of 32 numbers. What is missing is NaN: numbers are then 0, and so is every entry of a unit vector.

    Shapes: x (*lead, columns) to (*lead, width of the columns), which is what `network` reads.

    >>> columns = ("number", "count", "category=3")
    >>> network = networks.Typed(networks.Linear(networks.Typed.width(columns), 2), columns)
    >>> network(torch.tensor([[0.5, 1000.0, torch.nan]])).shape
    torch.Size([1, 2])
    """

    reads_missing = True

    def __init__(self, network: nn.Module, columns: Sequence[str]) -> None:
        super().__init__()
        self.network, self.columns = network, tuple(columns)
        self.categories = tuple(_categories(column) for column in self.columns)
        self.vectors = nn.ModuleDict(
            {f"{i}": nn.Embedding(number, RANK) for i, number in enumerate(self.categories) if number > WIDE}
        )

    @classmethod
    def width(cls, columns: Sequence[str]) -> int:
        """Return how many numbers the columns are read as: a unit vector each, or two, or three with a spike."""
        own = {"spike": 3}
        return sum(
            min(number, RANK if number > WIDE else number) if (number := _categories(c)) else own.get(c, 2)
            for c in columns
        )

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Apply the network to the columns as it can read them."""
        seen = []
        for i, (how, number) in enumerate(zip(self.columns, self.categories)):
            column = x[..., i]
            there = ~column.isnan()
            column = torch.where(there, column, 0.0)
            if number > WIDE:
                seen.append(self.vectors[f"{i}"](column.long()).to(x.dtype) * there.unsqueeze(-1))
            elif number:
                seen.append(nn.functional.one_hot(column.long(), number).to(x.dtype) * there.unsqueeze(-1))
            else:
                seen.append(torch.stack(self._numbers(how, column, there), -1))
        row = torch.cat(seen, -1)
        out: Tensor = self.network(row) if condition is None else self.network(row, condition)
        return out

    def _numbers(self, how: str, column: Tensor, there: Tensor) -> list[Tensor]:
        if how == "spike":
            at = column == SPIKE
            return [torch.where(at, 0.0, column), at.to(column.dtype), there.to(column.dtype)]
        if how == "count":
            column = torch.log1p(column)
        elif how == "grid":
            column = torch.where(there, 4 * column - 2, 0.0)
        return [column, there.to(column.dtype)]
