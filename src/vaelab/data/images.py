"""Folders of images, read whole: 8-bit grey or colour, or 16-bit grey, all of one size."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from .arrays import image_dataset, two_valued, under
from .dataset import Dataset
from .schema import Schema
from .words import count, some

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SIXTEEN = ("I;16", "I;16B", "I;16L", "I;16N", "I")
MOST_PIXELS = 1 << 26


def open_folder(folder: Path, size: str | tuple[int, int] | None, schema: Schema | None) -> Dataset:
    """Return the images under a folder, sorted by name; folders of classes give labels, file names the ids.

    Raises DataError if there are none, if some cannot be read (all are named), if sizes or depths are mixed.
    """
    files, notes = _list(folder)
    target = _size(size)
    colour = None if schema is None or schema.layout != "image" else len(schema.shape) == 3
    images, seen = _read_all(folder, files)
    if target is not None:
        images = [image.resize(target) if image.size != target else image for image in images]
    _same_size(files, images)
    deep = sum(image.mode == "I" for image in images)
    if 0 < deep < len(images):
        raise DataError(f"{folder.name}: {deep:,} of {len(images):,} images have 16 bits. Convert all to one depth.")
    if not deep:
        grey = all(image.mode == "L" for image in images) if colour is None else not colour
        images = [image.convert("L" if grey else "RGB") for image in images]
        seen.pop(f"of mode {'L' if grey else 'RGB'} converted", None)
    if schema is not None and (deep > 0) != (schema.grid[1] > 255):
        depths = (16, 8) if deep else (8, 16)
        raise DataError(f"{folder.name}: images of {depths[0]} bits, the model was trained on {depths[1]} bits.")
    notes += [f"{count(number, 'image')} {what}." for what, number in sorted(seen.items())]
    if target is not None:
        notes.append(f"images resized to {target[0]}x{target[1]}.")
    x = np.stack([np.asarray(image, dtype=np.int32 if deep else np.uint8) for image in images])
    if schema is not None and schema.grid == (0, 1) and two_valued(x, 255):
        x //= 255  # a picture of an array of 0 and 1, such as this package writes
    classes = [file.split("/")[0] if "/" in file else "" for file in files]
    labels: NDArray[Any] | None = None
    if all(classes) and len(set(classes)) > 1:
        labels = np.array(classes)
        notes.append(f"{len(set(classes))} folders taken as labels.")
    data = image_dataset(folder.name, x, tuple(notes), labels=labels, ids=np.array(files))
    return data if schema is None else under(schema, replace(data, schema=schema), folder.name)


def _list(folder: Path) -> tuple[list[str], list[str]]:
    """Return image files as sorted relative names, and a note of skipped files. Links are not followed."""
    found: list[str] = []
    skipped = 0
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            if file.startswith(".") or not file.lower().endswith(SUFFIXES):
                skipped += 1
            else:
                found.append((Path(place) / file).relative_to(folder).as_posix())
    if not found:
        raise DataError(f"no images in {folder} (looked for {', '.join(s[1:] for s in SUFFIXES)}).")
    return sorted(found), [f"{count(skipped, 'other file')} skipped."] if skipped else []


def _size(size: str | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    parts = size.lower().split("x") if isinstance(size, str) else [str(n) for n in size]
    if len(parts) not in (1, 2) or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"size is {size!r}: expected WIDTHxHEIGHT, such as 64x48, or one number.")
    return int(parts[0]), int(parts[-1])


def _read_all(folder: Path, files: list[str]) -> tuple[list[Image], Counter[str]]:
    """Return every image in mode L, RGB or I, and what had to be done. Raises DataError naming bad files."""
    from PIL.Image import DecompressionBombError

    images: list[Image] = []
    seen: Counter[str] = Counter()
    bad: list[str] = []
    for file in files:
        try:
            images.append(_read(folder / file, seen))
        except (OSError, ValueError, SyntaxError, EOFError, Warning, DecompressionBombError) as error:
            reason = str(error).split("(")[0].split("'")[0].strip() or type(error).__name__
            bad.append(f"{file} ({reason})")
    if bad:
        many = f"{len(bad):,} of {count(len(files), 'image')} cannot be read"
        raise DataError(f"{folder.name}: {many}: {', '.join(bad)}. Remove or replace them.")
    return images, seen


def _read(path: Path, seen: Counter[str]) -> Image:
    from PIL import Image, ImageOps

    if path.stat().st_size == 0:
        raise ValueError("empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(path)
    with image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels are too many")
        if getattr(image, "n_frames", 1) > 1:
            seen["animated, first frame kept"] += 1
        if image.getexif().get(0x0112, 1) != 1:
            seen["turned upright by EXIF"] += 1
        upright = ImageOps.exif_transpose(image)
        mode = upright.mode
        if mode in SIXTEEN:
            return _sixteen(upright)
        if mode == "F":
            raise ValueError("float pixels")
        seen[f"of mode {mode} converted"] += 1
        if mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in upright.info:
            over = Image.new("RGBA", upright.size, "white")
            over.alpha_composite(upright.convert("RGBA"))
            return over.convert("L" if mode in ("LA", "La") else "RGB")
        return upright.convert("L" if mode in ("1", "L") else "RGB")


def _sixteen(image: Image) -> Image:
    """Return a 16-bit image in the 32-bit integer mode, which keeps every value."""
    whole = image.convert("I")
    low, high = whole.getextrema()
    if not (isinstance(low, (int, float)) and isinstance(high, (int, float)) and 0 <= low <= high <= 65535):
        raise ValueError(f"pixels from {low} to {high}, beyond 16 bits")
    return whole


def _same_size(files: list[str], images: list[Image]) -> None:
    sizes = Counter(image.size for image in images)
    if len(sizes) == 1:
        return
    (width, height), number = sizes.most_common(1)[0]
    others = [f"{f} {i.width}x{i.height}" for f, i in zip(files, images) if i.size != (width, height)]
    raise DataError(
        f"{len(sizes)} sizes found (most: {width}x{height}, {count(number, 'file')}; others: {some(others)})."
        f" Choose --size {width}x{height} to resize."
    )
