"""Rows that lie on the disk: written once, in random order, and read through the memory map in blocks.

A cache is a folder named by a digest of where the rows come from and how they are read. It holds `rows`, `numbers`
(where each row stood in its source, from 1) and, where cells are missing, `observed`. It appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..durable import sync_folder, write_durably
from ..errors import EnvironmentFault

Array = NDArray[Any]
Blocks = Callable[[], Iterable[tuple[Array, Array]]]

LARGE = 10**9  # bytes of rows from which on they are kept on the disk: a fixed size, so that a run finds its rows again
BLOCK = 2**23  # bytes of rows that are read, and shuffled, together
BUCKET, BUCKETS = 2**24, 256  # bytes that are put in random order together; more where that makes too many files
WHOLE = "whole.json"  # written last


@dataclass(frozen=True)
class Cache:
    """Where rows that are too large for the memory are kept: a folder, and the bytes from which on it is used."""

    folder: Path
    least: int = LARGE

    @classmethod
    def asked(cls, text: str) -> Cache | None:
        """Return the cache of "auto" (the user's cache folder, for more than 1 GB), "off", or a folder (always)."""
        if text == "off":
            return None
        if text != "auto":
            return cls(Path(text), 0)
        import platformdirs

        return cls(Path(platformdirs.user_cache_dir("vaelab")) / "rows")


class Mapped:
    """An array in a file: its pages come into memory when they are read, and leave it at `forget`."""

    def __init__(self, path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
        with open(path, "rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self.array: Array = np.frombuffer(self.map, dtype).reshape(shape)

    def forget(self) -> None:
        """Give the memory back. What is read again comes from the system's cache of files, or from the disk."""
        if hasattr(self.map, "madvise"):
            self.map.madvise(mmap.MADV_DONTNEED)


class Stored:
    """The open cache of a source: x (N, *shape), numbers (N,), observed (N, *shape) or None; what was `told` of it."""

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / WHOLE).read_text())
        shape = (facts["rows"], *facts["shape"])
        self.folder, self.told = folder, facts["told"]
        self.parts = [Mapped(folder / "rows", facts["dtype"], shape), Mapped(folder / "numbers", "int64", shape[:1])]
        if facts["missing"]:
            self.parts.append(Mapped(folder / "observed", "bool", shape))

    @property
    def x(self) -> Tensor:
        """The rows."""
        return torch.from_numpy(self.parts[0].array)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Where each row stood in its source, from 1."""
        return self.parts[1].array

    @property
    def observed(self) -> Tensor | None:
        """Which entries are there; None where all are."""
        return torch.from_numpy(self.parts[2].array) if len(self.parts) > 2 else None

    @property
    def block(self) -> int:
        """How many rows are read, and shuffled, together."""
        rows = self.parts[0].array
        return block_of(rows[:1].nbytes)

    @property
    def note(self) -> str:
        """What is said of the cache."""
        size = sum(part.array.nbytes for part in self.parts)
        return f"the rows are kept in {self.folder} ({size / 1e9:.1f} GB), in random order, and read in blocks."

    def forget(self) -> None:
        """Give back the memory of all that was read."""
        for part in self.parts:
            part.forget()

    def blocks(self, x: Tensor) -> Iterator[Tensor]:
        """Go through rows of this cache block by block; each is forgotten when the next is asked for."""
        for block in x.split(self.block):
            yield block
            self.forget()


def block_of(row: int) -> int:
    """Return the rows of a block, for rows of so many bytes."""
    return max(1, BLOCK // row)


def source_key(path: Path, *how: Any) -> str:
    """Return the name of a source and of how it is read: path, size and time of change, and `how`."""
    facts = path.stat()
    text = json.dumps([str(path.resolve()), facts.st_size, facts.st_mtime_ns, *map(str, how)])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def folder_key(folder: Path, files: Sequence[str], *how: Any) -> str:
    """Return the name of files in a folder and of how they are read, as `source_key`."""
    total = hashlib.sha256(json.dumps([str(folder.resolve()), *map(str, how)]).encode())
    for file in files:
        facts = (folder / file).stat()
        total.update(json.dumps([file, facts.st_size, facts.st_mtime_ns]).encode())
    return total.hexdigest()[:24]


def find(cache: Cache, key: str) -> Stored | None:
    """Return the cache named `key`; None where it is not there."""
    return Stored(cache.folder / key) if (cache.folder / key / WHOLE).exists() else None


def store(
    cache: Cache, key: str, rows: int, dtype: Any, shape: tuple[int, ...], blocks: Blocks, told: Any = None
) -> Stored:
    """Return the cache named `key`, made of blocks of rows (n, *shape) and their numbers (n,) where it is not there.

    There are `rows` of them, or fewer. `told` is kept beside them, as JSON.

    The order is random, and the same for the same rows: each row goes to a random one of some files, each of which is
    then put in random order. Takes the memory of one such file. Raises EnvironmentFault where it cannot be written.
    """
    folder = cache.folder / key
    if (found := find(cache, key)) is None:
        try:
            cache.folder.mkdir(parents=True, exist_ok=True)
            with scratch_folder(cache, key) as place:
                _write(Path(place), rows, np.dtype(dtype), shape, blocks, told)
                try:
                    os.rename(place, folder)
                except OSError:
                    if not (folder / WHOLE).exists():  # else another process was quicker
                        raise
            sync_folder(cache.folder)
        except OSError as error:
            raise full(cache, error) from error
    return found or Stored(folder)


def full(cache: Cache, error: OSError) -> EnvironmentFault:
    """Return what is said of a cache that cannot be written."""
    return EnvironmentFault(
        f"the cache {cache.folder} cannot be written: {error.strerror or error}. Make room, or use --cache DIR."
    )


def scratch_folder(cache: Cache, name: str) -> tempfile.TemporaryDirectory[str]:
    """Return a new folder beside the caches; those that processes of this machine left when they died are removed."""
    here = f"{name}.{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}."
    for old in cache.folder.glob(f"{here}*"):
        try:
            os.kill(int(old.name.removeprefix(here).split(".")[0]), 0)
        except (OSError, ValueError):
            shutil.rmtree(old, ignore_errors=True)
    prefix = f"{here}{os.getpid()}."
    return tempfile.TemporaryDirectory(prefix=prefix, dir=cache.folder, ignore_cleanup_errors=True)


def _write(place: Path, rows: int, dtype: np.dtype[Any], shape: tuple[int, ...], blocks: Blocks, told: Any) -> None:
    width = int(np.prod(shape)) * dtype.itemsize
    order = torch.Generator().manual_seed(0)
    scratch = place / "buckets"
    scratch.mkdir()
    number = min(BUCKETS, -(-rows * (width + 8) // BUCKET))
    buckets = [open(scratch / str(i), "wb") for i in range(number)]  # noqa: SIM115
    rows = 0
    try:
        for x, numbers in blocks():
            rows += len(x)
            record = np.empty((len(x), width + 8), np.uint8)
            record[:, :width] = np.ascontiguousarray(x, dtype).reshape(len(x), -1).view(np.uint8)
            record[:, width:] = numbers.astype(np.int64).reshape(-1, 1).view(np.uint8)
            goes = torch.randint(len(buckets), (len(x),), generator=order).numpy()
            for number, bucket in enumerate(buckets):
                bucket.write(record[goes == number].tobytes())
    finally:
        for bucket in buckets:
            bucket.close()
    missing = False
    names = ("rows", "numbers", "observed")
    with ExitStack() as opened:
        out, places, seen = (opened.enter_context(open(place / name, "wb")) for name in names)
        for number in range(len(buckets)):
            path = scratch / str(number)
            record = np.fromfile(path, np.uint8).reshape(-1, width + 8)
            path.unlink()
            record = record[torch.randperm(len(record), generator=order).numpy()]
            x = np.ascontiguousarray(record[:, :width]).view(dtype)
            out.write(x.tobytes())
            places.write(np.ascontiguousarray(record[:, width:]).tobytes())
            there = ~np.isnan(x) if dtype.kind == "f" else np.ones(x.shape, bool)
            missing = missing or not there.all()
            seen.write(there.tobytes())
        for file in (out, places, seen):
            file.flush()
            os.fsync(file.fileno())
    scratch.rmdir()
    facts = {"rows": rows, "shape": shape, "dtype": dtype.str, "missing": missing, "told": told}
    if not missing:
        (place / "observed").unlink()
    write_durably(place / WHOLE, json.dumps(facts).encode())
