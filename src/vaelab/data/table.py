"""Tables: columns of numbers, picked by name, with constants and missing values set apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError, UsageError, suggest
from .arrays import grid_of, under
from .dataset import Dataset
from .schema import Schema
from .words import count, show, some

if TYPE_CHECKING:
    import narwhals as nw
    import polars as pl

Picked = str | Sequence[str] | None


@dataclass(frozen=True)
class Column:
    """Values (N,) float64, NaN where missing, and the user's type of them."""

    name: str
    values: NDArray[np.float64]
    dtype: str


def parse_names(text: Picked, known: Sequence[str], option: str) -> list[str]:
    """Return the columns that "A,B", "1-3,quality" or a sequence of names picks, in the order of the file.

    Numbers are 1-based positions; a name goes before a number. Raises UsageError for an unknown one.
    """
    picked: set[str] = set()
    for item in text.split(",") if isinstance(text, str) else text or ():
        item = item.strip()
        positions = re.fullmatch(r"(\d+)(?:-(\d+))?", item)
        if item in known:
            picked.add(item)
        elif positions:
            first, last = int(positions[1]), int(positions[2] or positions[1])
            if not 1 <= first <= last <= len(known):
                raise UsageError(f"{option} {item}: there are columns 1 to {len(known)}.")
            picked.update(known[first - 1 : last])
        else:
            raise UsageError(f"{option}: no column {show(item)}.{suggest(item, list(known))}")
    return [name for name in known if name in picked]


def keep(names: Sequence[str], columns: Picked, drop: Picked, labels: str | None) -> list[str]:
    """Return the names of the columns to model. Raises UsageError if none is left."""
    kept = parse_names(columns, names, "--columns") if columns is not None else list(names)
    dropped = parse_names(drop, names, "--drop") if drop is not None else []
    if labels is not None and labels not in names:
        raise UsageError(f"--labels: no column {show(labels)}.{suggest(labels, list(names))}")
    kept = [name for name in kept if name not in dropped and name != labels]
    if not kept:
        raise UsageError("no column is left to model. Check --columns and --drop.")
    return kept


def text_column(source: str, name: str, cells: pl.Series) -> Column:
    """Return the numbers of a column of strings (None where missing). Raises DataError naming a bad cell."""
    import polars as pl

    if cells.null_count() != len(cells) and cells.drop_nulls().str.to_lowercase().is_in(["true", "false"]).all():
        truth = (cells.str.to_lowercase() == "true").cast(pl.Float64)
        return Column(name, truth.fill_null(np.nan).to_numpy().copy(), "Boolean")
    numbers = cells.cast(pl.Float64, strict=False)
    bad = (numbers.is_null() & cells.is_not_null()).arg_true()
    if len(bad):
        _refuse_text(source, name, cells, bad.to_list())
    whole = bool(cells.drop_nulls().str.contains(r"^[+-]?\d+$").all())
    values = numbers.fill_null(np.nan).to_numpy().copy()
    if whole and len(values) and np.nanmax(np.abs(values), initial=0.0) >= 2**53:
        row = int(np.nanargmax(np.abs(values)))
        raise DataError(
            f"{source}: column {show(name)} row {row + 1} holds {cells[row][:40]}, too large for a float. "
            f"An identifier? Leave it out with --drop {show(name)[1:-1]}."
        )
    _refuse_infinite(source, name, values)
    return Column(name, values, "Int64" if whole else "Float64")


def _refuse_text(source: str, name: str, cells: pl.Series, bad: list[int]) -> None:
    shown, row, value = show(name), bad[0] + 1, cells[bad[0]]
    filled = len(cells) - cells.null_count()
    commas = sum(re.fullmatch(r"[+-]?[\d.]*\d,\d+", cells[i]) is not None for i in bad)
    if commas == len(bad):
        raise DataError(
            f"{source}: column {shown} has {count(commas, 'value')} like {show(value)} (row {row}). "
            "Write decimals with a point, and no thousands separators."
        )
    if len(bad) * 2 < filled:
        many = count(len(bad), "such row")
        raise DataError(
            f"{source}: column {shown} is numeric but row {row} holds {show(value)} ({many}). "
            f"Add --missing {show(value)[1:-1]}, or leave the column out with --drop {shown[1:-1]}."
        )
    raise DataError(
        f"{source}: column {shown} holds text: row {row} is {show(value)}. Only numbers can be modelled; "
        f"leave it out with --drop {shown[1:-1]}."
    )


def _refuse_infinite(source: str, name: str, values: NDArray[np.float64]) -> None:
    bad = np.flatnonzero(np.isinf(values))
    if len(bad):
        raise DataError(f"{source}: column {show(name)} row {bad[0] + 1} is {values[bad[0]]}. Replace it or empty it.")


def frame_column(source: str, name: str, cells: nw.Series[Any]) -> Column:
    """Return the numbers of a column of a data frame. Raises DataError for text, dates, infinities."""
    import narwhals as nw

    kind = cells.dtype
    if not (kind.is_numeric() or kind == nw.Boolean):
        bad = next((str(value) for value in cells if value is not None), "")
        raise DataError(
            f"{source}: column {show(name)} holds {kind}: row 1 is {show(bad)}. Only numbers can be modelled;"
            f" leave it out with --drop {show(name)[1:-1]}."
        )
    if kind.is_integer() and len(cells.drop_nulls()) and max(abs(cells.min()), abs(cells.max())) >= 2**53:
        raise DataError(f"{source}: column {show(name)} holds integers above 2^53: they would be rounded. Drop it.")
    # through a list of floats where there are nulls: the frame libraries disagree on what becomes of them
    if cells.null_count():
        values = np.array([np.nan if value is None else float(value) for value in cells.to_list()])
    else:
        values = cells.to_numpy().astype(np.float64)
    _refuse_infinite(source, name, values)
    return Column(name, values, str(kind))


def table_dataset(name: str, columns: list[Column], labels: NDArray[Any] | None = None) -> Dataset:
    """Return the rows of a table to train on; constant and empty columns are set apart, empty rows left out.

    All columns 0/1 make a binary table, else all are real. Raises DataError where nothing is left to model.
    """
    rows = len(columns[0].values)
    notes: list[str] = []
    modelled: list[Column] = []
    constants: list[tuple[str, float]] = []
    for column in columns:
        seen = column.values[~np.isnan(column.values)]
        if len(seen) == 0:
            notes.append(f"column {show(column.name)} has no values; left out.")
        elif rows > 1 and seen.min() == seen.max():
            constants.append((column.name, float(seen[0])))
            notes.append(f"column {show(column.name)} is constant ({seen[0]:g}); stored, not modelled.")
        else:
            modelled.append(column)
            if column.dtype.startswith(("Int", "UInt")) and rows > 1 and bool((np.diff(column.values) == 1).all()):
                notes.append(f"column {show(column.name)} counts the rows; leave it out with --drop if it is an index.")
    if not modelled:
        raise DataError(f"{name}: every column is constant or empty, nothing is left to model.")
    x = np.stack([column.values for column in modelled], 1)
    kind, low, high = grid_of(x, integers=False)
    schema = Schema(
        name=name,
        layout="table",
        shape=(len(modelled),),
        values=kind,
        low=low,
        high=high,
        columns=tuple(column.name for column in modelled),
        constants=tuple(constants),
        order=tuple(column.name for column in columns),
        dtypes=tuple(column.dtype for column in columns),
    )
    data = _with_missing(x, schema, labels, notes)
    empty = np.isnan(x).all(1)
    if not empty.any():
        return data
    left_out = f"{count(int(empty.sum()), 'row')} without any value to model, left out."
    kept = Dataset(data.x, schema, data.observed, labels, np.arange(1, rows + 1), notes=(*data.notes, left_out))
    return kept.take(np.flatnonzero(~empty))


def known_dataset(source: str, schema: Schema, columns: list[Column], extra: Sequence[str]) -> Dataset:
    """Return new rows under the schema of a model, from its columns in its order (see `wanted`).

    Every row is kept. Raises DataError for values that the model does not know.
    """
    x = np.stack([column.values for column in columns], 1)
    notes = [f"{count(len(extra), 'column')} unknown to the model, ignored: {some(extra)}."] if extra else []
    return under(schema, _with_missing(x, schema, None, notes), source)


def _with_missing(x: NDArray[np.float64], schema: Schema, labels: NDArray[Any] | None, notes: list[str]) -> Dataset:
    missing = np.isnan(x)
    if not missing.any():
        return Dataset(torch.from_numpy(x), schema, None, labels, notes=tuple(notes))
    per_column = zip(schema.columns or (), missing.sum(0).tolist())
    counts = [f"{name} {number:,}" for name, number in per_column if number]
    notes = [*notes, f"{count(int(missing.sum()), 'missing value')}: {some(counts, 8)}."]
    return Dataset(torch.from_numpy(x), schema, torch.from_numpy(~missing), labels, notes=tuple(notes))


def wanted(source: str, schema: Schema, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the columns that a model needs, and those unknown to it. Raises DataError if one is missing."""
    if schema.columns is None:
        raise DataError(f"{source}: the model was trained on {schema.describe()}, not on a table.")
    for name in schema.columns:
        if name not in names:
            hint = suggest(name, list(names))
            raise DataError(f"{source}: column {show(name)} was used in training but is not there.{hint}")
    return list(schema.columns), [name for name in names if name not in schema.user_columns]


def stem(path: Path) -> str:
    """Return the name of a file without folders and suffixes: "wine_red" of "data/wine_red.csv.gz"."""
    return Path(path.name.removesuffix(".gz")).stem
