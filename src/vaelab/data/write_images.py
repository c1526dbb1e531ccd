"""Images to PNG: one sheet, or a folder of them."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..durable import write_durably
from ..errors import EnvironmentFault, UsageError
from .schema import Schema

SMALLEST_TILE = 56
OWN_IMAGE = re.compile(r"\d+\.png")


def sheet(values: NDArray[Any], schema: Schema) -> bytes:
    """Return one nearly square PNG of all images, each enlarged by a whole factor, with lines between."""
    if not len(values):
        raise UsageError("no rows: a grid of images needs at least one.")
    height, width = schema.shape[:2]
    factor = max(1, math.ceil(SMALLEST_TILE / max(height, width)))
    tiles = pixels(values, schema).repeat(factor, 1).repeat(factor, 2)
    across = min(len(tiles), max(1, round(math.sqrt(len(tiles) * height / width))))
    down = math.ceil(len(tiles) / across)
    step_y, step_x = height * factor + 2, width * factor + 2
    shape = (down * step_y + 2, across * step_x + 2, *tiles.shape[3:])
    page = np.full(shape, np.iinfo(tiles.dtype).max // 2, dtype=tiles.dtype)
    for i, tile in enumerate(tiles):
        y, x = 2 + i // across * step_y, 2 + i % across * step_x
        page[y : y + height * factor, x : x + width * factor] = tile
    return png(page)


def write_folder(target: Path, blocks: Iterable[NDArray[Any]], n: int, schema: Schema) -> None:
    """Write each image as NUMBER.png; images of an earlier, longer run would mix with them and are removed."""
    try:
        target.mkdir(exist_ok=True)
        for old in target.iterdir():
            if OWN_IMAGE.fullmatch(old.name):
                old.unlink()
    except OSError as error:
        raise EnvironmentFault(f"{target} cannot be written: {error.strerror}. Choose another place.") from error
    digits = len(str(max(n - 1, 0)))
    done = 0
    for block in blocks:
        for image in pixels(block, schema):
            write_durably(target / f"{done:0{digits}}.png", png(image))
            done += 1


def pixels(values: NDArray[Any], schema: Schema) -> NDArray[Any]:
    """Return images on 0..255 as uint8, or on 0..65535 as uint16 where the grid is finer than 8 bits."""
    low, high = schema.grid
    top, kind = (255, np.uint8) if high - low <= 255 else (65535, np.uint16)
    scaled = (values.astype(np.float64) - low) / (high - low) * top
    return np.rint(scaled).clip(0, top).astype(kind)


def png(image: NDArray[Any]) -> bytes:
    """Return one image (H, W) or (H, W, 3) as a PNG file."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, format="png")
    return out.getvalue()
