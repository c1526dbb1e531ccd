"""Arrays: reading .npy, .npz and .idx files, and telling images, grids and real numbers apart."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError
from .dataset import Dataset
from .schema import Schema, Values
from .words import count, reason, show

Array = NDArray[Any]

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
DATA_KEYS = ("x_train", "x", "images", "data")
LABEL_KEYS = ("y_train", "y", "labels", "y_test")
WIDEST_GRID = 1024
PIECE = 2**20  # bytes of a file that are read together
LARGEST_COUNT = 2**24  # float32 holds every whole number up to here


def read_parts(path: Path) -> Iterator[bytes]:
    """Yield the content of a file in pieces of 1 MB, decompressed if it is gzip. Raises DataError."""
    try:
        with open(path, "rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            with gzip.GzipFile(fileobj=raw) if packed else raw as file:
                while part := file.read(PIECE):
                    yield part
    except FileNotFoundError:
        raise DataError(f"no such file: {path}. Check the path.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(f"{path} is damaged: its gzip stream is cut or altered. Fetch it again.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, decompressed if it is gzip. Raises DataError."""
    return b"".join(read_parts(path))


def read_idx(path: Path) -> Array:
    """Return the array of an IDX file (the format of MNIST), gzip or not. Raises DataError."""
    content = read_bytes(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise DataError(f"{path} is not an IDX file: it begins with {content[:4].hex(' ')}.")
    kind, dims = np.dtype(IDX_TYPES[content[2]]), content[3]
    start = 4 + 4 * dims
    shape = tuple(int(n) for n in np.frombuffer(content[4:start], ">u4")) if len(content) >= start else ()
    expected = start + math.prod(shape) * kind.itemsize
    if len(shape) != dims or len(content) != expected:
        raise DataError(f"{path} is damaged: its header announces {expected:,} bytes, it has {len(content):,}.")
    return np.frombuffer(content, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))


def read_npy(path: Path, *, mapped: bool = False) -> Array:
    """Return the array of a .npy file, in memory or `mapped`; pickled objects are refused. Raises DataError."""
    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"no such file: {path}. Check the path.") from None
    except Exception as error:  # damaged bytes make numpy raise almost anything
        raise DataError(f"{path} cannot be read as .npy: {reason(error)}.") from None


def read_npz(path: Path) -> dict[str, Array]:
    """Return the arrays of a .npz file by key; pickled objects are refused. Raises DataError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except FileNotFoundError:
        raise DataError(f"no such file: {path}. Check the path.") from None
    except Exception as error:  # damaged bytes make numpy and zipfile raise almost anything
        raise DataError(f"{path} cannot be read as .npz: {reason(error)}.") from None


def pick(
    path: Path, arrays: dict[str, Array], key: str | None
) -> tuple[Array, Array | None, Array | None, Array | None]:
    """Return rows, labels, test rows and test labels of a .npz file.

    The rows are those under `key`, else under a usual name, else the array with most rows.
    Raises DataError that lists the keys where the choice is not clear.
    """
    listed = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    if key is not None:
        if key not in arrays:
            raise DataError(f"{path.name} has no array {key!r}. It has: {listed}.")
        return arrays[key], None, None, None
    usual = [name for name in DATA_KEYS if name in arrays]
    if not usual:
        rows = {name: array.shape[0] for name, array in arrays.items() if array.ndim >= 2}
        usual = [name for name, number in rows.items() if number == max(rows.values())]
    if len(usual) != 1:
        raise DataError(f"{path.name}: which array holds the rows? It has: {listed}. Write {path.name}:KEY.")
    x = arrays[usual[0]]
    test = arrays.get("x_test") if usual[0] in ("x_train", "x") else None
    labels = next((arrays[k] for k in LABEL_KEYS if k in arrays and arrays[k].shape == x.shape[:1]), None)
    test_labels = arrays.get("y_test")
    if test is None or test_labels is None or test_labels.shape != test.shape[:1]:
        test_labels = None
    return x, labels, test, test_labels


def images_from(x: Array) -> tuple[Array, str] | None:
    """Return 8-bit images as (N, H, W) or (N, H, W, 3) with a note; None for any other array."""
    if x.dtype != np.uint8 or x.ndim not in (3, 4):
        return None
    if x.ndim == 3:
        return x, f"8-bit array {x.shape} read as grey images."
    if x.shape[3] in (1, 3):
        return (x[..., 0] if x.shape[3] == 1 else x), f"8-bit array {x.shape} read as images, channels last."
    if x.shape[1] in (1, 3):
        moved = x[:, 0] if x.shape[1] == 1 else np.ascontiguousarray(np.moveaxis(x, 1, -1))
        return moved, f"8-bit array {x.shape} read as images, channels first."
    return None


def grid_of(x: Array, integers: bool) -> tuple[Values, int | None, int | None]:
    """Return the kind of values, with the grid of binary and integer ones; counts are wide, and begin at 0.

    NaN is skipped.
    """
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    binary = (low, high) == (0, 1) and bool(np.isin(x[~np.isnan(x)], (0, 1)).all())
    return kind_of(low, high, binary, integers)


def kind_of(low: float, high: float, binary: bool, integers: bool) -> tuple[Values, int | None, int | None]:
    """Return the kind of values from low to high, and its grid: all 0 or 1 if `binary`, all whole if `integers`."""
    if binary:
        return "binary", 0, 1
    if integers and 0 < high - low <= WIDEST_GRID:
        return "integer", int(low), int(high)
    if integers and low == 0 and high <= LARGEST_COUNT:
        return "count", 0, int(high)
    return "real", None, None


def as_counts(schema: Schema, parts: Iterable[Dataset | None]) -> Schema | None:
    """Return the schema under which these rows are counts, or None: not all are whole numbers from 0 on.

    >>> digits = data.open_source("digits")
    >>> data.as_counts(digits.schema, [digits]).values
    'count'
    """
    high = 1
    for data in parts:
        seen = None if data is None else data.x[~data.x.isnan()] if data.x.is_floating_point() else data.x
        if seen is None:
            continue
        whole = not seen.is_floating_point() or bool((seen == seen.round()).all())
        top = int(seen.max())  # as a number: 2^24 is 0 in 8 bits
        if not whole or seen.min() < 0 or top > LARGEST_COUNT:
            return None
        high = max(high, top)
    return schema.replace(values="count", low=0, high=high, loc=None, scale=None)


def image_dataset(name: str, x: Array, notes: tuple[str, ...] = (), **fields: Any) -> Dataset:
    """Return images (N, H, W) or (N, H, W, 3) on the grid of their type: uint8 0..255, int32 0..65535.

    Images of nothing but 0 and 1, or 0 and the maximum, are binary.
    """
    high = 255 if x.dtype == np.uint8 else 65535
    values: Values = "integer"
    for top in (1, high):
        if two_valued(x, top):
            values, high, notes = "binary", top, (*notes, f"every pixel is 0 or {top}: binary.")
            break
    schema = Schema(name=name, layout="image", shape=x.shape[1:], values=values, low=0, high=high)
    return Dataset(torch.from_numpy(np.ascontiguousarray(x)), schema, notes=notes, **fields)


def two_valued(x: Array, top: int) -> bool:
    """Whether every pixel is 0 or `top`; part by part, so that the first grey image ends the search."""
    return all(bool(((part == 0) | (part == top)).all()) for part in np.array_split(x, 64))


def array_dataset(
    name: str,
    x: Array,
    schema: Schema | None = None,
    labels: Array | None = None,
    *,
    inf_as_missing: bool = False,
) -> Dataset:
    """Return rows of an array: 8-bit images, else binary, integer (at most 1,024 steps) or real values.

    With a schema, the rows are new data for it; infinities are refused, or missing values.
    Raises DataError for text, infinities, another shape, other values.
    """
    x = np.asarray(x)
    if x.dtype.kind not in "buif":
        raise DataError(f"{name}: an array of {x.dtype} is not numbers. Convert it first.")
    if x.ndim < 2 or 0 in x.shape:
        raise DataError(f"{name}: an array of shape {x.shape} has no rows. Expected (rows, ...).")
    if labels is not None and len(labels) != len(x):
        raise DataError(f"{name}: {count(len(labels), 'label')} for {count(len(x), 'row')}.")
    images = images_from(x) if schema is None or schema.layout == "image" else None
    if images is not None and schema is None:
        return image_dataset(name, images[0], (images[1],), labels=labels)
    if images is not None and schema is not None and schema.low is not None:
        return under(schema, Dataset(torch.from_numpy(np.ascontiguousarray(images[0])), schema, labels=labels), name)
    integers = x.dtype.kind in "bui"
    values = x.astype(np.float64)
    if integers and x.dtype.itemsize == 8 and np.abs(values).max() > 2**53:
        raise DataError(f"{name}: integers above 2^53 would be rounded. Leave that column out, or pass floats.")
    if inf_as_missing:
        values = np.where(np.isinf(values), np.nan, values)
    refuse_infinite(name, values)
    missing = np.isnan(values)
    if missing.all():
        raise DataError(f"{name}: every value is missing.")
    observed = torch.from_numpy(~missing) if missing.any() else None
    notes = (f"{count(int(missing.sum()), 'missing value')}.",) if missing.any() else ()
    if schema is None:
        kind, low, high = grid_of(values, integers)
        fresh = Schema(name=name, layout="array", shape=x.shape[1:], values=kind, low=low, high=high)
        return Dataset(torch.from_numpy(values), fresh, observed, labels, notes=notes)
    return under(schema, Dataset(torch.from_numpy(values), schema, observed, labels, notes=notes), name)


def refuse_infinite(name: str, values: Array, before: int = 0) -> None:
    """Raise DataError naming the first infinity; `before` rows of the source stand before these."""
    bad = np.argwhere(np.isinf(values))
    if len(bad):
        row, *index = bad[0].tolist()
        raise DataError(
            f"{name}: row {before + row + 1} entry {index} is {values[tuple(bad[0])]}. "
            "Replace it or use --inf-as-missing."
        )


def under(schema: Schema, data: Dataset, source: str) -> Dataset:
    """Return new data under a known schema, once they fit. Raises DataError naming the first misfit."""
    if tuple(data.x.shape[1:]) != schema.shape:
        raise DataError(
            f"{source}: rows have shape {tuple(data.x.shape[1:])}, the model was trained on {schema.shape}."
        )
    if schema.kinds:
        for name, field, column in zip(schema.columns or (), schema.kinds, data.x.unbind(1)):
            wrong, allowed = field.wrong(column)
            bad = torch.nonzero(wrong & ~column.isnan())
            if len(bad):
                more, got = f" ({count(len(bad), 'such value')})", f"{column[bad[0]].item():g}"
                where = f"{source}: column {show(name)} row {int(bad[0]) + 1}"
                raise DataError(f"{where} is {got}, expected {allowed}{more}.")
    elif schema.values != "real":
        low, high = schema.grid
        x = data.x.int() if data.x.dtype == torch.uint8 else data.x  # in 8 bits 300 would be 44
        if schema.values == "binary" and not schema.stochastic and schema.binarize != "threshold":
            wrong, allowed = (x != low) & (x != high), f"{low} or {high}"
        elif schema.values == "count":
            wrong, allowed = (x < 0) | (x > LARGEST_COUNT) | (x != x.round()), "a count: 0, 1, 2, ..."
        else:
            wrong = (x < low) | (x > high)
            allowed = f"{'a category known' if schema.values == 'category' else 'an integer'} from {low} to {high}"
            if x.is_floating_point():
                wrong |= x != x.round()
        if x.is_floating_point():
            wrong &= ~torch.isnan(x)
        bad = torch.nonzero(wrong)
        if len(bad):
            row, *index = bad[0].tolist()
            got = f"{x[tuple(bad[0])].item():g}"
            more = f" ({count(len(bad), 'such value')})"
            raise DataError(f"{source}: {schema.entry(tuple(index))} row {row + 1} is {got}, expected {allowed}{more}.")
    return data.checked(source)
