"""Rows on the disk in random order, a block of them in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ..noise import Noise
from .distributed import Ranks

if TYPE_CHECKING:
    from .rows import Batch, Rows


def shuffled_blocks(
    rows: Rows, batch_size: int, order: torch.Generator, noise: Noise, skip: int, ranks: Ranks
) -> Iterator[Batch]:
    """Go through all rows once: blocks of 8 MB in random order, and within each its rows in random order.

    Less the first `skip` of them. Which rows share a block is random too, and fixed: so they lie on the disk.
    Batches are as large as those of rows in memory; what is too few for one at the end of a block begins the next one.
    """
    from .rows import batch_sizes

    assert rows.store is not None
    sizes = batch_sizes(len(rows) - skip, batch_size)[::-1]
    left, origin = rows.some(slice(0)), torch.zeros(0, dtype=torch.int64)
    block = rows.store.block
    for start in (torch.randperm(-(-len(rows) // block), generator=order) * block).tolist():
        index = start + torch.randperm(min(block, len(rows) - start), generator=order)
        index, skip = index[skip:], max(0, skip - len(index))
        here, origin, place = left.joined(rows.some(index)), torch.cat([origin, index]), 0
        while sizes and place + sizes[-1] <= len(here):
            share = ranks.share(size := sizes.pop())
            mine = slice(place + share.start, place + share.stop)
            batch = replace(here.at(mine, own := share.noise(noise), share), index=origin[mine])
            yield rows.move(batch, own) if rows.move else batch
            place += size
        left, origin = here.some(slice(place, None)), origin[place:]
