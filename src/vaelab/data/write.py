"""Rows to files: images, arrays, tables, by the name of the file."""

from __future__ import annotations

import codecs
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..durable import check_writable, writing
from ..errors import EnvironmentFault, UsageError
from .columns import WRITTEN
from .excel import harmless_frame
from .fields import Field, Levels
from .reading import Reading
from .schema import Schema
from .text import SEPARATORS
from .write_images import sheet, write_folder

if TYPE_CHECKING:
    import polars as pl

FORMATS = (".png", ".npz", ".npy", ".csv", ".parquet", "a folder name")
IN_ONE_PIECE = 2**28  # cells of a parquet file, entries of a sheet of images

Beside = Mapping[str, NDArray[Any]]


def write_rows(
    path: str | Path,
    rows: Tensor | Iterable[Tensor],
    schema: Schema,
    *,
    n: int | None = None,
    beside: Beside | None = None,
    means: bool = False,
    force: bool = False,
    excel_safe: bool = False,
) -> None:
    """Write rows (N, *shape) in the user's units to `path`, whole or not at all.

    By the name: .png (a grid of images), no suffix (a folder of images), .npz (key x), .npy, .csv, .parquet.
    Tables come back with the user's columns in their order, constants included; integers are integers unless
    `means` says that the values are expectations. `beside` are known columns of the rows, (N,) each, such as ids and
    labels: they come first. A .csv is written as the model reads one, see `as_csv`; with `excel_safe` none of its words
    begin as a formula does. Rows may come in blocks, `n`
    of them in all: memory then stays flat.
    Raises UsageError if the output exists and not `force`, or if the form does not fit the data.

    >>> digits = data.open_source("digits")
    >>> data.write_rows("nine.png", digits.x[:9], digits.schema)
    """
    target = Path(path)
    check_target(target, schema, force)
    n = len(rows) if isinstance(rows, Tensor) else n
    assert n is not None, "rows in blocks: say how many there are"
    _check_size(target, n, schema)
    blocks = (block.detach().cpu().numpy() for block in ([rows] if isinstance(rows, Tensor) else rows))
    if target.suffix == "":
        write_folder(target, blocks, n, schema)
        return
    with writing(target) as file:
        if target.suffix == ".png":
            file.write(sheet(np.concatenate(list(blocks)), schema))
        elif target.suffix in (".npz", ".npy"):
            _write_array(file, target.suffix, blocks, n, schema, beside or {}, means)
        else:
            frames = _frames(blocks, schema, beside or {}, means)
            if target.suffix == ".parquet":
                _write_parquet(file, frames)
                return
            for text in as_csv(map(harmless_frame, frames) if excel_safe else frames, Reading.of(schema.reading)):
                file.write(text)


def write_columns(
    path: str | Path, columns: Mapping[str, NDArray[Any]], *, force: bool = False, excel_safe: bool = False
) -> None:
    """Write columns (N,) to .csv or .parquet, or as arrays (N, ...) to .npz; whole or not at all."""
    target = Path(path)
    check_columns(target, force)
    with writing(target) as file:
        if target.suffix == ".npz":
            np.savez(file, allow_pickle=False, **columns)
        else:
            frame = as_frame(columns)
            csv = target.suffix == ".csv"
            (harmless_frame(frame) if excel_safe else frame).write_csv(file) if csv else frame.write_parquet(file)


def as_frame(columns: Mapping[str, NDArray[Any]]) -> pl.DataFrame:
    """Return columns as a frame; an array (N, D) called "z" becomes the columns z0, z1, ..."""
    import polars as pl

    flat: dict[str, NDArray[Any]] = {}
    for name, values in columns.items():
        flat |= {name: values} if values.ndim == 1 else {f"{name}{i}": column for i, column in enumerate(values.T)}
    return pl.DataFrame(flat)


def check_target(target: Path, schema: Schema, force: bool) -> None:
    """Raise UsageError or EnvironmentFault before long work if rows could not be written to `target`."""
    if target.suffix not in ("", *FORMATS):
        raise UsageError(f"{target.name}: unknown kind of output. Known: {', '.join(FORMATS)}.")
    if target.suffix in ("", ".png") and schema.layout != "image":
        raise UsageError(f"{target.name}: {schema.describe()} make no images. Use .csv, .parquet, .npz or .npy.")
    check_place(target, force)
    if target.exists() and target.is_dir() != (target.suffix == ""):
        raise UsageError(f"{target.name} is {'a folder' if target.is_dir() else 'a file'}. Choose another name.")


def check_columns(target: Path, force: bool) -> None:
    """Raise UsageError or EnvironmentFault before long work if columns could not be written to `target`."""
    if target.suffix not in (".csv", ".parquet", ".npz"):
        raise UsageError(f"{target.name}: unknown kind of output. Known: .csv, .parquet, .npz.")
    check_place(target, force)


def check_place(target: Path, force: bool) -> None:
    """Raise UsageError or EnvironmentFault if nothing can be written to `target`, or something stands there."""
    if target.exists() and not force:
        raise UsageError(f"{target.name} exists. Use --force to replace it.")
    if not target.parent.is_dir():
        raise EnvironmentFault(
            f"{target.parent}: no such folder. Create it, or choose another place for {target.name}."
        )
    check_writable(target.parent)


def _check_size(target: Path, n: int, schema: Schema) -> None:
    if target.suffix in (".png", ".parquet") and n * schema.dims > IN_ONE_PIECE:
        streams = "a folder" if target.suffix == ".png" else ".csv"
        raise UsageError(
            f"{target.name}: {n:,} rows of {schema.dims:,} are too many for {target.suffix}, which is written in one "
            f"piece (at most {IN_ONE_PIECE // schema.dims:,} rows). Use {streams}, .npz or .npy, which are not."
        )


def _write_array(
    file: BinaryIO,
    suffix: str,
    blocks: Iterator[NDArray[Any]],
    n: int,
    schema: Schema,
    beside: Beside,
    means: bool,
) -> None:
    low, high = schema.grid
    kind: type = np.float64
    if not means and schema.values not in ("real", "mixed"):
        kind = np.uint8 if low >= 0 and high <= 255 and schema.values != "count" else np.int64
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(kind)),
        "fortran_order": False,
        "shape": (n, *schema.shape),
    }

    def write(out: Any) -> None:
        np.lib.format.write_array_header_1_0(out, header)
        for block in blocks:
            out.write((np.rint(block) if kind is not np.float64 else block).astype(kind).tobytes())

    if suffix == ".npy":
        write(file)
        return
    with zipfile.ZipFile(file, "w") as archive:
        # a fixed date, so that equal rows make equal bytes
        with archive.open(zipfile.ZipInfo("x.npy"), "w", force_zip64=True) as out:
            write(out)
        for name, values in beside.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as out:
                np.lib.format.write_array(out, values, allow_pickle=False)


def as_csv(frames: Iterable[pl.DataFrame], reading: Reading) -> Iterator[bytes]:
    """Yield blocks of a table as a model reads tables: its delimiter, decimal sign, encoding and first line.

    So that what a model writes it can read. Raises UsageError for words that the encoding does not know.
    """
    usual = ";" if reading.decimal == "," else ","
    separator = usual if reading.sep is None else SEPARATORS.get(reading.sep, reading.sep)
    encoder = codecs.getincrementalencoder(reading.encoding)()
    for number, frame in enumerate(frames):
        header = number == 0 and reading.header != "no"
        text = frame.write_csv(include_header=header, separator=separator, decimal_comma=reading.decimal == ",")
        try:
            yield encoder.encode(text)
        except UnicodeEncodeError as error:
            what = text[error.start : error.end]
            raise UsageError(f"{what!r} cannot be written in {reading.encoding}. Write a .parquet file.") from None


def _write_parquet(file: BinaryIO, frames: Iterator[pl.DataFrame]) -> None:
    import polars as pl

    buffer = io.BytesIO()
    pl.concat(list(frames)).write_parquet(buffer)
    file.write(buffer.getvalue())


def _frames(blocks: Iterator[NDArray[Any]], schema: Schema, beside: Beside, means: bool) -> Iterator[pl.DataFrame]:
    import polars as pl

    done = 0
    for block in blocks:
        known = as_frame({name: values[done : done + len(block)] for name, values in beside.items()})
        done += len(block)
        columns = _columns(block, schema, means)
        taken = {column.name for column in columns}
        known = known.rename({name: f"row_{name}" for name in known.columns if name in taken})
        yield pl.DataFrame([*known.get_columns(), *columns])


def _columns(values: NDArray[Any], schema: Schema, means: bool) -> list[pl.Series]:
    """Return the user's columns in their order and types; arrays and images have columns x0, x1, ..."""
    import polars as pl

    flat = values.reshape(len(values), schema.dims)
    if schema.columns is None:
        kind = "Float64" if means or schema.values == "real" else "Int64"
        return [typed(pl.Series(f"x{i}", flat[:, i]), kind) for i in range(flat.shape[1])]
    modelled = dict(zip(schema.columns, flat.T))
    constants = dict(schema.constants)
    kinds = schema.dtypes or ("Float64",) * len(schema.user_columns)
    fields = dict(zip(schema.columns, schema.kinds))
    out = []
    for name, kind in zip(schema.user_columns, kinds):
        if isinstance(field := fields.get(name), Levels) or (field is not None and field.kind == "date"):
            out.append(as_words(name, modelled[name], field, kind))
            continue
        column = modelled.get(name)
        if column is None:
            column = np.full(len(flat), constants.get(name, np.nan))  # of words, where the constant is one
        # a constant keeps its type: its mean is itself
        out.append(typed(pl.Series(name, column), "Float64" if means and name in modelled else kind))
    return out


def as_words(name: str, values: NDArray[Any], field: Field, kind: str) -> pl.Series:
    """Return places in a list of words as the words, seconds as dates, of the user's type; NaN as null."""
    import polars as pl

    if isinstance(field, Levels):
        places = pl.Series(name, values).fill_nan(None).cast(pl.Int64)
        words = pl.Series(name, field.levels).gather(places)
        return words if kind in ("String", "Boolean") else words.cast(getattr(pl, kind.partition("(")[0], pl.String))
    times = pl.Series(name, values).fill_nan(None)
    moments = pl.from_epoch((times * 1e6).round().cast(pl.Int64), time_unit="us").alias(name)
    if kind.startswith(WRITTEN):
        return moments.dt.strftime(kind.removeprefix(WRITTEN))
    return moments.cast(pl.Date) if kind == "Date" else moments


def as_table(rows: Tensor, schema: Schema, *, means: bool = False, like: Any = None) -> Any:
    """Return rows (N, *shape) as a polars frame with the user's columns, or as a frame of the kind of `like`."""
    import narwhals as nw
    import polars as pl

    frame = pl.DataFrame(_columns(rows.detach().cpu().double().numpy(), schema, means))
    if like is None or isinstance(like, pl.DataFrame):
        return frame
    kind = nw.from_native(like, eager_only=True).implementation
    return frame.to_pandas() if kind.is_pandas() else frame.to_arrow() if kind.is_pyarrow() else frame


def typed(column: pl.Series, kind: str) -> pl.Series:
    """Return a column of floats as the named type, NaN as null; integers are rounded into their range."""
    import polars as pl

    if kind == "String":
        return column
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
