"""The rows of a data set as the loop takes them: whole tensors in memory, never a loader of single rows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data import Dataset
from ..noise import Noise, SharedNoise, stream
from .blocks import shuffled_blocks
from .distributed import ALONE, Ranks, Share


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
    """x (B, *X) in the model's units, observed (B, *X) bool or None, condition (B, C) or None, index (B,).

    `share` says which rows these are of a batch that several processes take together.
    """

    x: Tensor
    observed: Tensor | None = None
    condition: Tensor | None = None
    index: Tensor | None = None
    parted: Share | None = None

    @property
    def share(self) -> Share:
        """Which rows these are of the whole batch: all of them, unless several processes take it together."""
        return self.parted or Share(0, len(self.x), len(self.x))


class Rows:
    """Rows on the device that trains, encoded once; at each use where the data are binarised stochastically.

    Rows on the disk stay there: they are encoded, and come to the device, block by block.
    """

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
        self.store, self.device = data.store, torch.device(device)
        place = "cpu" if self.store else device
        raw = data.x.to(place)
        self.raw = self.stochastic or self.store is not None
        self.data = raw if self.raw else data.schema.encode(raw, dtype=dtype)
        # of mixed columns it differs from row to row, and x alone would say it to fewer figures
        self.jacobian = data.schema.jacobian(raw) if data.schema.kinds and not self.store else None
        self.observed = None if data.observed is None else data.schema.arrange(data.observed).to(place)
        self.condition = None if data.condition is None else data.condition.to(place, dtype)

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
        device = "cpu" if shared else self.device
        noise = kind(stream(seed, "binarize", device))
        blocks = [self.data] if self.store is None else self.store.blocks(self.data)
        once.data = torch.cat([self.schema.encode(x.to(self.device), noise, self.dtype) for x in blocks])
        once.stochastic = once.raw = False
        once.store = None
        return once

    def first(self, most: int) -> Rows:
        """Return the first rows, at most this many."""
        return self.some(slice(most))

    def few(self, most: int, seed: int) -> Rows:
        """Return at most this many rows, drawn at random, in their order."""
        if most >= len(self):
            return self
        pick = torch.randperm(len(self), generator=stream(seed, "judged rows"))[:most].sort().values
        return self.some(pick)

    def some(self, index: Tensor | slice) -> Rows:
        """Return the rows at these indices, in memory."""
        index = self._near(index)
        some = copy.copy(self)
        some.data = _taken(self.data, index)
        if self.store is not None:
            some.store, some.raw = None, self.stochastic
            raw = some.data.to(self.device)
            some.data = raw.clone() if self.stochastic else self.schema.encode(raw, dtype=self.dtype)
            some.jacobian = self.schema.jacobian(raw) if self.schema.kinds else None
            self.store.forget()
        if self.jacobian is not None:
            some.jacobian = self.jacobian[index]
        some.observed = None if self.observed is None else self.observed[index].to(self.device)
        some.condition = None if self.condition is None else self.condition[index].to(self.device)
        return some

    def joined(self, other: Rows) -> Rows:
        """Return these rows, and then others of the same source; both in memory."""
        both = copy.copy(self)
        for name in ("data", "jacobian", "observed", "condition"):
            one, two = getattr(self, name), getattr(other, name)
            setattr(both, name, None if one is None else torch.cat([one, two]))
        return both

    def _near(self, index: Tensor | slice) -> Tensor | slice:
        """Return indices where the rows lie."""
        return index.to(self.data.device) if isinstance(index, Tensor) else index

    def at(self, index: Tensor | slice, noise: Noise | None = None, share: Share | None = None) -> Batch:
        """Return the rows at these indices, binarised afresh from the noise where that applies."""
        index = self._near(index)
        x = _taken(self.data, index).to(self.device)
        if self.raw:
            x = self.schema.encode(x, noise, self.dtype)
        observed = None if self.observed is None else _taken(self.observed, index).to(self.device)
        condition = None if self.condition is None else _taken(self.condition, index).to(self.device)
        return Batch(x, observed, condition, index if isinstance(index, Tensor) else None, share)

    def shuffled(
        self, batch_size: int, order: torch.Generator, noise: Noise, skip: int = 0, ranks: Ranks = ALONE
    ) -> Iterator[Batch]:
        """Go through all rows once in random order, less the first `skip` of it; the last batch may be smaller.

        Every row counts once. One row alone at the end joins the batch before it: it has no variance, and networks that
        normalise over a batch refuse it. Of several processes each gets its share of every batch.
        """
        if self.store is not None:
            yield from shuffled_blocks(self, batch_size, order, noise, skip, ranks)
            return
        left = torch.randperm(len(self), generator=order)[skip:]
        for index in left.split(batch_sizes(len(left), batch_size)):
            share = ranks.share(len(index))
            batch = self.at(share.of(index), own := share.noise(noise), share)
            yield self.move(batch, own) if self.move else batch

    def in_order(self, batch_size: int, ranks: Ranks = ALONE) -> Iterator[Batch]:
        """Go through all rows once, in their order; rows that are binarised afresh must be `drawn` first."""
        for start in range(0, len(self), batch_size):
            share = ranks.share(min(batch_size, len(self) - start))
            yield self.at(slice(start + share.start, start + share.stop), None, share)
            if self.store is not None:
                self.store.forget()


def _taken(rows: Tensor, index: Tensor | slice) -> Tensor:
    """Return rows[index]; by index_select, which copies whole rows at three times the speed."""
    return rows.index_select(0, index) if isinstance(index, Tensor) else rows[index]
