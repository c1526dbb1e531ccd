"""Files that are read as a whole: refused before that where the memory would not hold them."""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import DataError, EnvironmentFault
from ..memory import free_bytes, gigabytes
from .arrays import read_npy

# bytes of memory at the peak of `vaelab encode`, 32 columns, less what the process has anyway
TEXT = 7  # for a byte of text
CELL = 75  # for a cell of a parquet file
NUMBER = 38  # for a real number of an array
PIXEL = 3  # for a byte of whole numbers


def check_room(path: Path, need: int) -> None:
    """Raise EnvironmentFault if reading a file whole would clearly need more memory than is free."""
    free = free_bytes(torch.device("cpu"))
    if free is not None and need > free:
        raise EnvironmentFault(
            f"{path.name}: read as a whole it needs about {gigabytes(need)} of memory; {gigabytes(free)} are free. "
            "Give it in parts of fewer rows (no row depends on another), or close other programs."
        )


def room_for_text(path: Path) -> int:
    """Return the bytes that reading a text table needs, packed or not; too few of a packed one of more than 4 GB."""
    size = path.stat().st_size
    if path.suffix.lower() != ".gz":
        return TEXT * size
    with open(path, "rb") as file:
        file.seek(-min(4, size), 2)
        unpacked = int.from_bytes(file.read(4), "little")  # of the last member, modulo 4 GB: no more than a lower bound
    return TEXT * max(size, unpacked)


def room_for_parquet(path: Path) -> int:
    """Return the bytes that reading a parquet file needs; 0 for one that is damaged, which its reader refuses."""
    import polars as pl

    try:
        rows = pl.scan_parquet(path).select(pl.len()).collect().item()
        return CELL * rows * len(pl.read_parquet_schema(path))
    except (pl.exceptions.PolarsError, OSError):
        return 0


def room_for_array(path: Path) -> int:
    """Return the bytes that reading an array needs; 0 for one that is damaged, which its reader refuses."""
    if path.suffix.lower() != ".npy":
        return 0
    try:
        x = read_npy(path, mapped=True)
    except DataError:
        return 0
    return NUMBER * x.size if x.dtype.kind == "f" else PIXEL * x.nbytes
