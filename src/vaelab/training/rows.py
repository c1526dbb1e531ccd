"""The rows of a data set as the loop takes them: whole tensors in memory, never a loader of single rows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data import Dataset
from ..noise import Noise, SharedNoise, stream


def batch_sizes(rows: int, batch_size: int) -> list[int]:
    """Return the sizes of the batches that `rows` rows make: equal, the last one smaller, never a last one of one."""
    sizes = [min(batch_size, rows - start) for start in range(0, rows, batch_size)]
    if len(sizes) > 1 and sizes[-1] < min(2, batch_size):
        sizes[-2:] = [sizes[-2] + sizes[-1]]
    return sizes


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return how many batches a pass over `rows` rows has."""
    return len(batch_sizes(rows, batch_size))


@dataclass(frozen=True)
class Batch:
    """x (B, *X) in the model's units, observed (B, *X) bool or None, condition (B, C) or None, index (B,)."""

    x: Tensor
    observed: Tensor | None = None
    condition: Tensor | None = None
    index: Tensor | None = None


class Rows:
    """Rows on the device that trains, encoded once, or at each use where the data are binarised stochastically."""

    def __init__(
        self,
        data: Dataset,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.move: Callable[[Batch, Noise], Batch] | None = None  # what training does to each batch, see `augment`
        self.names = data.names  # of all rows, also where only the first are kept
        self.schema, self.dtype, self.stochastic = data.schema, dtype, data.schema.stochastic
        raw = data.x.to(device)
        self.data = raw if self.stochastic else data.schema.encode(raw, dtype=dtype)
        # of mixed columns it differs from row to row, and x alone would say it to fewer figures
        self.jacobian = data.schema.jacobian(raw) if data.schema.kinds else None
        self.observed = None if data.observed is None else data.schema.arrange(data.observed).to(device)
        self.condition = None if data.condition is None else data.condition.to(device, dtype)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def log_det(self) -> Tensor:
        """log |dx / draw| of each row (N,), or of all (), over its observed entries; 0 for masses."""
        if self.jacobian is None:
            return self.schema.log_det(self.observed, density=True)
        return (self.jacobian if self.observed is None else self.jacobian * self.observed).sum(1)

    @property
    def log_det_entries(self) -> Tensor:
        """log |dx / draw| of each entry, (N, *X) or broadcasting to it, 0 where unobserved; as `log_det`."""
        if self.jacobian is not None:
            return self.jacobian if self.observed is None else self.jacobian * self.observed
        each = self.schema.log_det_entries(density=True)
        return each if self.observed is None else each.to(self.observed.device) * self.observed

    def drawn(self, seed: int, *, shared: bool = False) -> Rows:
        """Return rows that are binarised once, by this seed, and kept: what is judged must not change between looks.

        With `shared`, by the same thresholds for every row: a row then becomes the same in any company and order.
        """
        if not self.stochastic:
            return self
        once = copy.copy(self)
        kind = SharedNoise if shared else Noise
        device = "cpu" if shared else self.data.device
        once.data = self.schema.encode(self.data, kind(stream(seed, "binarize", device)), self.dtype)
        once.stochastic = False
        return once

    def first(self, most: int) -> Rows:
        """Return the first rows, at most this many."""
        return self.some(slice(most))

    def few(self, most: int, seed: int) -> Rows:
        """Return at most this many rows, drawn at random, in their order."""
        if most >= len(self):
            return self
        pick = torch.randperm(len(self), generator=stream(seed, "judged rows"))[:most].sort().values
        return self.some(pick.to(self.data.device))

    def some(self, index: Tensor | slice) -> Rows:
        """Return the rows at these indices."""
        some = copy.copy(self)
        some.data = self.data[index]
        some.jacobian = None if self.jacobian is None else self.jacobian[index]
        some.observed = None if self.observed is None else self.observed[index]
        some.condition = None if self.condition is None else self.condition[index]
        return some

    def at(self, index: Tensor | slice, noise: Noise | None = None) -> Batch:
        """Return the rows at these indices, binarised afresh from the noise where that applies."""
        x = _taken(self.data, index)
        if self.stochastic:
            x = self.schema.encode(x, noise, self.dtype)
        observed = None if self.observed is None else _taken(self.observed, index)
        condition = None if self.condition is None else _taken(self.condition, index)
        return Batch(x, observed, condition, index if isinstance(index, Tensor) else None)

    def shuffled(self, batch_size: int, order: torch.Generator, noise: Noise, skip: int = 0) -> Iterator[Batch]:
        """Go through all rows once in random order, less the first `skip` of it; the last batch may be smaller.

        Every row counts once. One row alone at the end joins the batch before it: it has no variance, and networks that
        normalise over a batch refuse it.
        """
        left = torch.randperm(len(self), generator=order)[skip:]
        for index in left.split(batch_sizes(len(left), batch_size)):
            batch = self.at(index.to(self.data.device), noise)
            yield self.move(batch, noise) if self.move else batch

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Go through all rows once, in their order; rows that are binarised afresh must be `drawn` first."""
        for start in range(0, len(self), batch_size):
            yield self.at(slice(start, start + batch_size))


def _taken(rows: Tensor, index: Tensor | slice) -> Tensor:
    """Return rows[index]; by index_select, which copies whole rows at three times the speed."""
    return rows.index_select(0, index) if isinstance(index, Tensor) else rows[index]
