"""Rows to files: images, arrays, tables, by the name of the file."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..durable import write_durably
from ..errors import EnvironmentFault, UsageError
from .schema import Schema

if TYPE_CHECKING:
    import polars as pl

FORMATS = (".png", ".npz", ".npy", ".csv", ".parquet", "a folder name")
SMALLEST_TILE = 56
OWN_IMAGE = re.compile(r"\d+\.png")


def write_rows(
    path: str | Path,
    rows: Tensor,
    schema: Schema,
    *,
    ids: NDArray[Any] | None = None,
    means: bool = False,
    force: bool = False,
) -> None:
    """Write rows (N, *shape) in the user's units to `path`, whole or not at all.

    By the name: .png (a grid of images), no suffix (a folder of images), .npz (key x), .npy, .csv, .parquet.
    Tables come back with the user's columns in their order, constants included; integers are integers unless
    `means` says that the values are expectations. ids make a first column, "id".
    Raises UsageError if the output exists and not `force`, or if the form does not fit the data.
    """
    target = Path(path)
    check_target(target, schema, force)
    values = rows.detach().cpu().numpy()
    if target.suffix == "":
        _write_folder(target, values, schema)
        return
    if target.suffix == ".png":
        content = png(_grid(_pixels(values, schema), schema))
    elif target.suffix in (".npz", ".npy"):
        content = _array(values, schema, ids, means, target.suffix)
    else:
        content = _table(values, schema, ids, means, target.suffix)
    write_durably(target, content)


def check_target(target: Path, schema: Schema, force: bool) -> None:
    """Raise UsageError or EnvironmentFault before long work if rows could not be written to `target`."""
    if target.suffix not in ("", *FORMATS):
        raise UsageError(f"{target.name}: unknown kind of output. Known: {', '.join(FORMATS)}.")
    if target.suffix in ("", ".png") and schema.layout != "image":
        raise UsageError(f"{target.name}: {schema.describe()} make no images. Use .csv, .parquet, .npz or .npy.")
    if target.exists() and not force:
        raise UsageError(f"{target.name} exists. Use --force to replace it.")
    if target.exists() and target.is_dir() != (target.suffix == ""):
        raise UsageError(f"{target.name} is {'a folder' if target.is_dir() else 'a file'}. Choose another name.")
    if not target.parent.is_dir():
        raise EnvironmentFault(
            f"{target.parent}: no such folder. Create it, or choose another place for {target.name}."
        )


def _pixels(values: NDArray[Any], schema: Schema) -> NDArray[Any]:
    """Return images on 0..255 as uint8, or on 0..65535 as uint16 where the grid is finer than 8 bits."""
    low, high = schema.grid
    top, kind = (255, np.uint8) if high - low <= 255 else (65535, np.uint16)
    scaled = (values.astype(np.float64) - low) / (high - low) * top
    return np.rint(scaled).clip(0, top).astype(kind)


def png(pixels: NDArray[Any]) -> bytes:
    """Return a PNG file of pixels (H, W) or (H, W, 3), of 8 or 16 bits."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="png")
    return out.getvalue()


def _grid(pixels: NDArray[Any], schema: Schema) -> NDArray[Any]:
    """Return one nearly square sheet of all images, each enlarged by a whole factor, with lines between."""
    if not len(pixels):
        raise UsageError("no rows: a grid of images needs at least one.")
    height, width = schema.shape[:2]
    factor = max(1, math.ceil(SMALLEST_TILE / max(height, width)))
    tiles = pixels.repeat(factor, 1).repeat(factor, 2)
    across = min(len(tiles), max(1, round(math.sqrt(len(tiles) * height / width))))
    down = math.ceil(len(tiles) / across)
    step_y, step_x = height * factor + 2, width * factor + 2
    shape = (down * step_y + 2, across * step_x + 2, *pixels.shape[3:])
    sheet = np.full(shape, np.iinfo(pixels.dtype).max // 2, dtype=pixels.dtype)
    for i, tile in enumerate(tiles):
        y, x = 2 + i // across * step_y, 2 + i % across * step_x
        sheet[y : y + height * factor, x : x + width * factor] = tile
    return sheet


def _write_folder(target: Path, values: NDArray[Any], schema: Schema) -> None:
    try:
        target.mkdir(exist_ok=True)
        # images of an earlier, longer run would mix with the new ones; nothing else is touched
        for old in target.iterdir():
            if OWN_IMAGE.fullmatch(old.name):
                old.unlink()
    except OSError as error:
        raise EnvironmentFault(f"{target} cannot be written: {error.strerror}. Choose another place.") from error
    digits = len(str(max(len(values) - 1, 0)))
    for i, pixels in enumerate(_pixels(values, schema)):
        write_durably(target / f"{i:0{digits}}.png", png(pixels))


def _array(values: NDArray[Any], schema: Schema, ids: NDArray[Any] | None, means: bool, suffix: str) -> bytes:
    low, high = schema.grid
    if not means and schema.values != "real":
        kind: type = np.uint8 if low >= 0 and high <= 255 else np.int64
        values = np.rint(values).astype(kind)
    out = io.BytesIO()
    if suffix == ".npy":
        np.save(out, values, allow_pickle=False)
    elif ids is None:
        np.savez(out, x=values)
    else:
        np.savez(out, x=values, ids=ids)
    return out.getvalue()


def _table(values: NDArray[Any], schema: Schema, ids: NDArray[Any] | None, means: bool, suffix: str) -> bytes:
    import polars as pl

    columns = _columns(values, schema, means)
    if ids is not None:
        columns = [pl.Series("id" if "id" not in schema.user_columns else "row_id", ids), *columns]
    frame = pl.DataFrame(columns)
    out = io.BytesIO()
    if suffix == ".csv":
        frame.write_csv(out)
    else:
        frame.write_parquet(out)
    return out.getvalue()


def _columns(values: NDArray[Any], schema: Schema, means: bool) -> list[pl.Series]:
    """Return the user's columns in their order and types; arrays and images have columns x0, x1, ..."""
    import polars as pl

    flat = values.reshape(len(values), -1)
    if schema.columns is None:
        kind = "Float64" if means or schema.values == "real" else "Int64"
        return [_typed(pl.Series(f"x{i}", flat[:, i]), kind) for i in range(flat.shape[1])]
    modelled = dict(zip(schema.columns, flat.T))
    constants = dict(schema.constants)
    kinds = schema.dtypes or ("Float64",) * len(schema.user_columns)
    out = []
    for name, kind in zip(schema.user_columns, kinds):
        column = modelled.get(name)
        if column is None:
            column = np.full(len(flat), constants.get(name, np.nan))
        # a constant keeps its type: its mean is itself
        out.append(_typed(pl.Series(name, column), "Float64" if means and name in modelled else kind))
    return out


def _typed(column: pl.Series, kind: str) -> pl.Series:
    """Return a column of floats as the named type, NaN as null; integers are rounded into their range."""
    import polars as pl

    column = column.cast(pl.Float64).fill_nan(None)
    if kind == "Boolean":
        return column.round().clip(0, 1).cast(pl.Boolean)
    if kind.startswith(("Int", "UInt")):
        bits = int(kind.lstrip("UInt"))
        # float64 holds no more than 53 bits, and reading refused what lies beyond
        largest = float(2 ** min(bits - kind.startswith("I"), 53) - 1)
        lowest = 0.0 if kind.startswith("U") else -largest - 1
        return column.round().clip(lowest, largest).cast(getattr(pl, kind))
    return column.cast(pl.Float32) if kind == "Float32" else column
