"""Array files that are larger than the memory: read in blocks, kept in the cache of rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .arrays import image_dataset, images_from, kind_of, read_npy, refuse_infinite
from .dataset import Dataset
from .schema import Schema
from .stored import Blocks, Cache, block_of, source_key, store
from .words import count

Array = NDArray[Any]


def large_array(
    cache: Cache, path: Path, name: str, labels: Array | None, *, inf_as_missing: bool = False
) -> Dataset | None:
    """Return the rows of a .npy file from the cache, as `array_dataset` would; None where they are fewer.

    What `array_dataset` refuses is left to it. Raises DataError for infinities.
    """
    try:
        x = read_npy(path, mapped=True)
    except DataError:
        return None
    usable = x.dtype.kind in "buif" and x.ndim >= 2 and 0 not in x.shape and x.dtype.str[1:] not in ("i8", "u8")
    if not usable or (labels is not None and len(labels) != len(x)):
        return None
    images = images_from(x[:1])
    size = x.nbytes if images is not None else 8 * x.size
    if size < cache.least:
        return None
    step = block_of(size // len(x))

    def read(start: int) -> Array:
        # opened anew for each block: what was read stays in memory as long as its map is open
        part = read_npy(path, mapped=True)[start : start + step]
        pixels = images_from(part)
        if pixels is not None:
            return pixels[0]
        values = part.astype(np.float64)
        return np.where(np.isinf(values), np.nan, values) if inf_as_missing else values

    def blocks() -> Iterator[tuple[Array, Array]]:
        for start in range(0, len(x), step):
            part = read(start)
            yield part, np.arange(start + 1, start + len(part) + 1)

    grid = None if images is not None else _grid(name, blocks, x.dtype.kind in "bui")
    if grid is not None and grid[0] > grid[1]:
        return None  # every value is missing
    first = read(0)
    kept = store(cache, source_key(path, inf_as_missing), len(x), first.dtype, first.shape[1:], blocks)
    if grid is None:
        assert images is not None
        note = images[1].replace(str((1, *x.shape[1:])), str(x.shape))
        data = image_dataset(name, kept.parts[0].array, (note,))
        kept.forget()
    else:
        missing = 0 if kept.observed is None else sum(int((~there).sum()) for there in kept.blocks(kept.observed))
        values, low, high = kind_of(*grid, x.dtype.kind in "bui")
        schema = Schema(name=name, layout="array", shape=x.shape[1:], values=values, low=low, high=high)
        said = (f"{count(missing, 'missing value')}.",) if missing else ()
        data = Dataset(kept.x, schema, kept.observed, store=kept, notes=said)
    own = None if labels is None else labels[kept.numbers - 1]
    return replace(data, labels=own, numbers=kept.numbers, store=kept, notes=(*data.notes, kept.note))


def _grid(name: str, blocks: Blocks, integers: bool) -> tuple[float, float, bool]:
    """Return the lowest and highest value, and whether all are 0 or 1; NaN is skipped."""
    low, high, binary = math.inf, -math.inf, True
    for x, numbers in blocks():
        refuse_infinite(name, x, int(numbers[0]) - 1)
        seen = x[~np.isnan(x)]
        if len(seen):
            low, high = min(low, float(seen.min())), max(high, float(seen.max()))
            binary = binary and bool(((seen == 0) | (seen == 1)).all())
    return low, high, binary and (low, high) == (0, 1)
