"""Single image files: found in a folder, and read to 8-bit grey or colour, or to 16-bit grey."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from .words import count, show

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SIXTEEN = ("I;16", "I;16B", "I;16L", "I;16N", "I")
ALPHA = ("LA", "RGBA", "PA", "La", "RGBa")
MOST_PIXELS = 1 << 26


def list_images(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Return image files as sorted relative names, notes of what was skipped, and folders that cannot be read.

    Links to folders are followed, but no folder is read twice: a link that leads back would have no end.
    """
    found: list[str] = []
    bad: list[str] = []
    notes: list[str] = []
    skipped = hidden = 0
    visited = {os.path.realpath(folder)}

    def unreadable(error: OSError) -> None:
        place = Path(str(error.filename)).relative_to(folder).as_posix()
        bad.append(f"{name(place)}/ ({error.strerror})")

    for place, folders, files in os.walk(folder, followlinks=True, onerror=unreadable):
        hidden += sum(sub.startswith(".") for sub in folders)
        here = [Path(place) / sub for sub in sorted(folders) if not sub.startswith(".")]
        folders.clear()
        for sub in here:
            real = os.path.realpath(sub)
            if real in visited:
                shown = name(sub.relative_to(folder).as_posix())
                notes.append(f"folder {shown} leads back to one that is read already, skipped.")
            else:
                visited.add(real)
                folders.append(sub.name)
        for file in files:
            if file.startswith(".") or not file.lower().endswith(SUFFIXES):
                skipped += 1
            else:
                found.append((Path(place) / file).relative_to(folder).as_posix())
    if hidden:
        notes.append(f"{count(hidden, 'hidden folder')} skipped.")
    if skipped:
        notes.append(f"{count(skipped, 'other file')} skipped.")
    return sorted(found), notes, bad


def name(file: str) -> str:
    """Return the name of a file for a message: escaped."""
    return show(file, 200)[1:-1]


def read_image(path: Path, seen: Counter[str]) -> Image:
    """Return the first frame of an image upright, in mode L, RGB or (16 bits) I; `seen` counts what had to be done.

    What is clear becomes white. Raises whatever Pillow does for damaged bytes, ValueError for what is not read.
    """
    from PIL import Image, ImageOps

    if path.stat().st_size == 0:
        raise ValueError("empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels are too many")
            deep = any(";16" in str(tile.args) for tile in image.tile)
            if deep and image.mode not in SIXTEEN:
                raise ValueError("16-bit colour")  # Pillow would cut it to 8 bits without a word
            if getattr(image, "n_frames", 1) > 1:
                seen["of several frames, only the first is kept"] += 1
            if image.getexif().get(0x0112, 1) in range(2, 9):
                seen["turned upright by EXIF"] += 1
            upright = ImageOps.exif_transpose(image)
            return _plain(upright, seen)


def _plain(image: Image, seen: Counter[str]) -> Image:
    from PIL import Image

    mode = image.mode
    if mode in SIXTEEN:
        return _sixteen(image)
    if mode == "F":
        raise ValueError("float pixels")
    seen[f"of mode {mode}"] += 1
    if mode in ALPHA or "transparency" in image.info:
        seen["with transparency, laid on white"] += 1
        over = Image.new("RGBA", image.size, "white")
        over.alpha_composite(image.convert("RGBA"))
        return over.convert("L" if mode in ("LA", "La", "L", "1") else "RGB")
    if mode == "P":
        red, green, blue = image.convert("RGB").split()
        if red.tobytes() == green.tobytes() == blue.tobytes():
            return red  # a palette of greys, as in most GIFs of grey images
    return image.convert("L" if mode in ("1", "L") else "RGB")


def _sixteen(image: Image) -> Image:
    """Return a 16-bit image in the 32-bit integer mode, which keeps every value."""
    whole = image.convert("I")
    low, high = whole.getextrema()
    if not (isinstance(low, (int, float)) and isinstance(high, (int, float)) and 0 <= low <= high <= 65535):
        raise ValueError(f"pixels from {low} to {high}, beyond 16 bits")
    return whole
