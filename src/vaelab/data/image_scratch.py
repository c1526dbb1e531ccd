"""Images on their way to the cache of rows: decoded one by one, in a scratch file until all are known."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .stored import Cache, Stored, block_of, full, store

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = Callable[["Image"], NDArray[Any]]


def decoded_size(folder: Path, files: Sequence[str], size: tuple[int, int] | None) -> int:
    """Return about how many bytes the pixels of all images take, if they are like the first one that can be opened."""
    from PIL import Image

    for file in files:
        with suppress(Exception), Image.open(folder / file) as first:  # what cannot be read is named later
            width, height = size or first.size
            each = 4 if first.mode.startswith("I") else 1 if first.mode in ("1", "L") else 3
            return len(files) * width * height * each
    return 0


@dataclass(frozen=True)
class Kept:
    """An image in a scratch file."""

    file: int
    mode: str
    size: tuple[int, int]
    start: int
    length: int

    def image(self) -> Image:
        """Return the image."""
        from PIL import Image

        return Image.frombytes(self.mode, self.size, os.pread(self.file, self.length, self.start))


class Scratch:
    """A file of decoded images beside the cache, from `with` to its end."""

    def __init__(self, cache: Cache) -> None:
        self.cache, self.end = cache, 0

    def __enter__(self) -> Scratch:
        try:
            self.cache.folder.mkdir(parents=True, exist_ok=True)
            self.file = tempfile.TemporaryFile(dir=self.cache.folder, buffering=0)
        except OSError as error:
            raise full(self.cache, error) from error
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def keep(self, image: Image) -> Kept:
        """Write an image; return where it is."""
        raw, start = image.tobytes(), self.end
        try:
            self.end += self.file.write(raw)
        except OSError as error:
            raise full(self.cache, error) from error
        return Kept(self.file.fileno(), image.mode, image.size, start, len(raw))

    def store(self, key: str, images: Sequence[Kept], pixels: Pixels, told: Any) -> Stored:
        """Return the cache of the pixels of these images."""
        first = pixels(images[0].image())
        step = block_of(first.nbytes)

        def blocks() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
            for start in range(0, len(images), step):
                part = np.stack([pixels(kept.image()) for kept in images[start : start + step]])
                yield part, np.arange(start + 1, start + len(part) + 1)

        return store(self.cache, key, len(images), first.dtype, first.shape, blocks, told)
