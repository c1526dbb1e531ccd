"""Folders of images, read whole: 8-bit grey or colour, or 16-bit grey, all of one size."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, EnvironmentFault
from .arrays import image_dataset, two_valued, under
from .dataset import Dataset
from .image_files import SUFFIXES, list_images, name, read_image
from .image_scratch import Pixels, Scratch, decoded_size
from .reading import FITS, Reading
from .schema import Schema
from .stored import Cache, find, folder_key
from .words import count, show

if TYPE_CHECKING:
    from PIL.Image import Image

NAMED = 20  # unreadable files that one message names
SMALLEST = 2
ASIDE = re.compile(r"\([^)]*\)|'[^']*'|<[^>]*>")  # what Pillow says of addresses, paths and numbers of bytes


def open_folder(
    folder: Path,
    reading: Reading,
    schema: Schema | None,
    *,
    skip_bad: bool = False,
    cache: Cache | None = None,
) -> Dataset:
    """Return the images under a folder, sorted by name; folders of classes give labels, file names the ids.

    A large folder is decoded once, into the cache.

    All files are read before anything is said. Raises DataError if there are none, if some cannot be read (unless
    `skip_bad`, which counts them in a note), if sizes or depths are mixed.
    """
    title = folder.name or folder.resolve().name
    found, notes, bad = list_images(folder)
    if not found and not bad:
        raise DataError(f"no images in {folder} (looked for {', '.join(s[1:] for s in SUFFIXES)}).")
    if cache is not None and schema is None and decoded_size(folder, found, reading.size) >= cache.least:
        key = folder_key(folder, found, reading, skip_bad, bad)
        if (kept := find(cache, key)) is None:
            with Scratch(cache) as scratch:
                images, files, pixel, notes = _read(title, folder, found, notes, bad, reading, None, skip_bad, scratch)
                kept = scratch.store(key, images, pixel, {"files": files, "notes": notes})
        own = np.array(kept.told["files"])[kept.numbers - 1].tolist()
        data = _dataset(title, kept.parts[0].array, own, (*kept.told["notes"], kept.note))
        kept.forget()
        found_in = replace(data, schema=data.schema.replace(reading=reading.pairs()))
        return replace(found_in, numbers=kept.numbers, store=kept)
    images, files, pixel, notes = _read(title, folder, found, notes, bad, reading, schema, skip_bad, None)
    pixels = np.stack([pixel(image) for image in images])
    if schema is not None and schema.grid == (0, 1) and two_valued(pixels, 255):
        pixels //= 255  # a picture of an array of 0 and 1, such as this package writes
    data = _dataset(title, pixels, files, tuple(notes))
    if schema is not None:
        return under(schema, replace(data, schema=schema), title)
    return replace(data, schema=data.schema.replace(reading=reading.pairs()))


def _dataset(title: str, pixels: NDArray[Any], files: list[str], notes: tuple[str, ...]) -> Dataset:
    """Return images with the names of their files; folders of classes give labels."""
    classes = [file.split("/")[0] if "/" in file else "" for file in files]
    labels: NDArray[Any] | None = None
    if all(classes) and len(set(classes)) > 1:
        labels = np.array(classes)
        notes = (*notes, f"{len(set(classes))} folders taken as labels.")
    return image_dataset(title, pixels, notes, labels=labels, ids=np.array(files))


def _read(
    title: str,
    folder: Path,
    found: list[str],
    notes: list[str],
    bad: list[str],
    reading: Reading,
    schema: Schema | None,
    skip_bad: bool,
    scratch: Scratch | None,
) -> tuple[list[Any], list[str], Pixels, list[str]]:
    """Return the images (in the scratch file, if there is one), their files, how to get their pixels, and notes."""
    images, seen = _read_all(folder, found, reading, bad, scratch)
    files = list(images)
    notes = notes + _judged(title, len(found), files, bad, skip_bad)
    pixel, modes = _one_kind(title, images, seen, schema)
    notes += modes + [f"{count(number, 'image')} {what}." for what, number in sorted(seen.items())]
    if reading.size is not None:
        notes.append(f"images are brought to {reading.size[0]}x{reading.size[1]}; others are {FITS[reading.fit]}.")
    return list(images.values()), files, pixel, notes


def _read_all(
    folder: Path, files: list[str], reading: Reading, bad: list[str], scratch: Scratch | None
) -> tuple[dict[str, Any], Counter[str]]:
    """Return every image that can be read, of the size asked for, and what had to be done; the others go to `bad`."""
    images: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    for file in files:
        here: Counter[str] = Counter()
        try:
            image = _sized(read_image(folder / file, here), reading)
            images[file] = image if scratch is None else scratch.keep(image)
        except EnvironmentFault:
            raise
        except Exception as error:  # damaged bytes make Pillow raise almost anything
            said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            reason = show(" ".join(ASIDE.sub("", said).split()) or type(error).__name__, 60)[1:-1]
            bad.append(f"{name(file)} ({reason})")
        else:
            seen += here
    return images, seen


def _sized(image: Image, reading: Reading) -> Image:
    from PIL import ImageOps

    if reading.size is None or image.size == reading.size:
        return image
    if reading.fit == "crop":
        return ImageOps.fit(image, reading.size)
    return ImageOps.pad(image, reading.size, color=0) if reading.fit == "pad" else image.resize(reading.size)


def _judged(title: str, total: int, files: list[str], bad: list[str], skip_bad: bool) -> list[str]:
    """Return the note of bad files that are skipped. Raises DataError if they are not, or if no other is left."""
    if not bad:
        return []
    more = f", and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
    what = f"{len(bad):,} of {count(total, 'image')} cannot be read: {', '.join(bad[:NAMED])}{more}."
    if skip_bad and files:
        return [f"skipped: {what}"]
    raise DataError(f"{title}: {what} Remove them{' or use --skip-bad' if files else ''}.")


def _one_kind(
    title: str, images: dict[str, Any], seen: Counter[str], schema: Schema | None
) -> tuple[Pixels, list[str]]:
    """Return how to get the pixels of each image, (H, W) or (H, W, 3), and a note of their modes if they are mixed.

    Raises DataError for mixed sizes or depths, and where the depth is not that of the schema.
    """
    _same_size(title, images)
    deep = sum(image.mode == "I" for image in images.values())
    if 0 < deep < len(images):
        raise DataError(f"{title}: {deep:,} of {len(images):,} images have 16 bits. Convert all to one depth.")
    if schema is not None and (deep > 0) != (schema.grid[1] > 255):
        depths = (16, 8) if deep else (8, 16)
        raise DataError(f"{title}: images of {depths[0]} bits, the model was trained on {depths[1]} bits.")
    if deep:
        # smoothing overshoots: 8-bit images are cut by Pillow, these here
        return lambda image: np.asarray(image, dtype=np.int32).clip(0, 65535), []
    grey = all(image.mode == "L" for image in images.values())
    if schema is not None and schema.layout == "image":
        grey = len(schema.shape) == 2
    mode = "L" if grey else "RGB"
    modes = {key: seen.pop(key) for key in sorted(seen) if key.startswith("of mode ")}
    notes = []
    if set(modes) != {f"of mode {mode}"}:
        counts = ", ".join(f"{number:,} {key.removeprefix('of mode ')}" for key, number in modes.items())
        notes.append(f"images of modes {counts}: all read as {'grey' if grey else 'RGB'}.")
    return lambda image: np.asarray(image.convert(mode)), notes


def _same_size(title: str, images: dict[str, Any]) -> None:
    sizes = Counter(image.size for image in images.values()).most_common()
    (width, height), _ = sizes[0]
    if len(sizes) > 1:
        found = "; ".join(f"{w}x{h}, {count(number, 'file')}" for (w, h), number in sizes[:NAMED])
        other = next(file for file, image in images.items() if image.size != (width, height))
        raise DataError(
            f"{title}: {len(sizes)} sizes found (most: {found}{'; ...' if len(sizes) > NAMED else ''}), "
            f"such as {name(other)}. Choose --size {width}x{height} [--fit crop or pad]."
        )
    if min(width, height) < SMALLEST:
        raise DataError(
            f"{title}: images of {width}x{height} pixels are too small: expected {SMALLEST}x{SMALLEST} at least."
        )
