"""Tables: columns picked by name; names of rows, constants and missing values are set apart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..errors import DataError, UsageError, suggest
from .arrays import grid_of, under
from .columns import Cells, Column, drop
from .dataset import Dataset
from .fields import Field
from .kinds import Asked, for_each, form_of, known_column, with_fields
from .reading import LABEL, Reading
from .schema import Schema
from .spill import Spill
from .words import count, show, some

Picked = str | Sequence[str] | None


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


def keep(names: Sequence[str], columns: Picked, dropped: Picked, apart: dict[str, str | None]) -> list[str]:
    """Return the names of the columns to model; `apart` are, by option, those that are not. Raises UsageError."""
    kept = parse_names(columns, names, "--columns") if columns is not None else list(names)
    out = parse_names(dropped, names, "--drop") if dropped is not None else []
    for option, name in apart.items():
        if name is not None and name not in names:
            raise UsageError(f"{option}: no column {show(name)}.{suggest(name, list(names))}")
    kept = [name for name in kept if name not in out and name not in apart.values()]
    if not kept:
        raise UsageError("no column is left to model. Check --columns and --drop.")
    return kept


def open_table(
    name: str,
    cells: Cells,
    columns: Picked,
    dropped: Picked,
    schema: Schema | None,
    kinds: Mapping[str, Asked] | None = None,
    spill: Spill | None = None,
) -> Dataset:
    """Return the rows of a table, its names of rows and labels set apart; with a schema, as new data for it.

    Columns of words, or `kinds` that are asked for, make a mixed table. `spill` takes the rows of a large one.

    Raises DataError for a cell that cannot be used, UsageError for columns that are not there.
    """
    source, reading = cells.source, cells.reading
    if not len(cells):
        raise DataError(f"{source} has no rows.")
    if schema is None:
        given_beside = {f"--condition {name}": name for name in reading.condition if name != LABEL}
        apart = {"--ids": reading.ids, "--labels": reading.labels, **given_beside}
        kept = keep(cells.names, columns, dropped, apart)
        asked = for_each(kinds or {}, cells.names, kept)
        spill = spill if spill is not None and spill.wanted(len(cells), len(kept)) else None
        read = []
        for column in kept:
            one = cells.column(column, new=False, form=form_of(asked.get(column)))
            read.append(one if spill is None else spill.column(one))
        data = table_dataset(source, name, read, reading, asked, spill)
    else:
        needed, extra = wanted(source, schema, cells.names)
        extra = [column for column in extra if column not in (reading.ids, reading.labels, *reading.condition)]
        if schema.kinds:
            read = [known_column(cells, column, field) for column, field in zip(needed, schema.kinds)]
        else:
            read = [cells.column(column, new=True) for column in needed]
        data = known_dataset(source, schema, read, extra)

    def beside(column: str | None) -> NDArray[Any] | None:
        return cells.exact(column)[data.row_numbers - 1] if column in cells.names and column is not None else None

    ids, labels = beside(reading.ids), beside(reading.labels)
    notes = [f"column {show(reading.ids)} names the rows, not modelled."] if ids is not None else []
    notes += [f"column {show(reading.labels)} labels the rows, not modelled."] if labels is not None else []
    columns_given = {name: beside(name) for name in reading.condition}
    given = {name: column for name, column in columns_given.items() if column is not None}
    notes += [f"column {show(name)} is given to the model, not modelled." for name in given]
    ids = data.ids if ids is None else ids
    return replace(data, ids=ids, labels=labels, given=given or None, notes=(*notes, *data.notes))


def table_dataset(
    source: str,
    name: str,
    columns: list[Column],
    reading: Reading,
    asked: Mapping[str, Asked],
    spill: Spill | None = None,
) -> Dataset:
    """Return the rows of a table to train on; constant and empty columns are set apart, empty rows left out.

    Columns of numbers, all 0/1, make a binary table, else all are real; with words, dates or kinds that are `asked`
    for, each column is of a kind of its own. Raises DataError where nothing is left to model.
    """
    rows = len(columns[0].values)
    notes: list[str] = []
    modelled: list[Column] = []
    constants: list[tuple[str, float | str]] = []
    ids: NDArray[Any] | None = None
    for column in columns:
        seen = column.values[~np.isnan(column.values)] if column.exact is None else _words(column.exact)
        if len(seen) == 0:
            notes.append(f"column {show(column.name)} has no values; left out.")
        elif (rows > 1 or column.exact is not None) and bool((seen == seen[0]).all()):
            value = seen[0].item()
            constants.append((column.name, value))
            shown = f"{value:g}" if isinstance(value, float) else show(value)
            notes.append(f"column {show(column.name)} is constant ({shown}); stored, not modelled.")
        elif column.exact is not None and column.words is None and column.times is None:
            what = f"column {show(column.name)} holds integers beyond 2^53, which a float would round; "
            if ids is None and reading.ids is None and len(np.unique(column.exact)) == rows:
                ids, reading = column.exact, replace(reading, ids=column.name)
                notes.append(what + "taken as the names of the rows, not modelled.")
            else:
                notes.append(what + "left out.")
            columns = [other for other in columns if other is not column]
        else:
            modelled.append(column)
            if column.dtype.startswith(("Int", "UInt")) and rows > 1 and bool((np.diff(column.values) == 1).all()):
                what = f"column {show(column.name)} counts the rows"
                notes.append(f"{what}; leave it out with {drop(column.name)} if it is an index.")
        if spill is not None:
            spill.forget()
    fields: list[Field] = []
    if asked or any(column.exact is not None for column in modelled):
        left = [column.name for column in modelled]
        modelled, fields, why = with_fields(source, modelled, asked)
        modelled = modelled if spill is None else [spill.column(column) for column in modelled]
        gone = set(left) - {column.name for column in modelled}
        columns, notes = [column for column in columns if column.name not in gone], [*notes, *why]
    if not modelled:
        raise DataError(f"{source}: every column is constant, empty or a name of rows, nothing is left to model.")
    x = np.empty(0) if spill is not None else np.stack([column.values for column in modelled], 1)
    grid = grid_of(x, integers=False) if spill is None else spill.values(modelled)
    values, low, high = ("mixed", None, None) if fields else grid
    types = {column.name: column.dtype for column in modelled}
    schema = Schema(
        name=name,
        layout="table",
        shape=(len(modelled),),
        values=values,
        low=low,
        high=high,
        columns=tuple(column.name for column in modelled),
        constants=tuple(constants),
        order=tuple(column.name for column in columns),
        dtypes=tuple(types.get(column.name, column.dtype) for column in columns),
        reading=reading.pairs(),
        fields=nn.ModuleList(fields) if fields else None,
    )
    if spill is not None:
        data = spill.rows(modelled, schema, notes)
        return data if ids is None else replace(data, ids=ids[data.row_numbers - 1])
    data = replace(_with_missing(x, schema, notes), ids=ids)
    empty = np.isnan(x).all(1)
    if not empty.any():
        return data
    left_out = f"{count(int(empty.sum()), 'row')} without any value to model, left out."
    return replace(data, notes=(*data.notes, left_out)).take(np.flatnonzero(~empty))


def _words(exact: NDArray[Any]) -> NDArray[Any]:
    words = exact.astype(str)
    return words[words != ""]


def known_dataset(source: str, schema: Schema, columns: list[Column], extra: Sequence[str]) -> Dataset:
    """Return new rows under the schema of a model, from its columns in its order (see `wanted`).

    Every row is kept. Raises DataError for values that the model does not know.
    """
    x = np.stack([column.values for column in columns], 1)
    notes = [f"{count(len(extra), 'column')} unknown to the model, ignored: {some(extra)}."] if extra else []
    return under(schema, _with_missing(x, schema, notes), source)


def _with_missing(x: NDArray[np.float64], schema: Schema, notes: list[str]) -> Dataset:
    missing = np.isnan(x)
    if not missing.any():
        return Dataset(torch.from_numpy(x), schema, notes=tuple(notes))
    per_column = zip(schema.columns or (), missing.sum(0).tolist())
    counts = [f"{name} {number:,}" for name, number in per_column if number]
    notes = [*notes, f"{count(int(missing.sum()), 'missing value')}: {some(counts, 8)}."]
    return Dataset(torch.from_numpy(x), schema, torch.from_numpy(~missing), notes=tuple(notes))


def wanted(source: str, schema: Schema, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the columns that a model needs, and those unknown to it. Raises DataError if one is missing."""
    if schema.columns is None:
        raise DataError(f"{source}: the model was trained on {schema.describe()}, not on a table.")
    for name in schema.columns:
        if name not in names:
            hint = suggest(name, list(names))
            raise DataError(f"{source}: column {show(name)} was used in training but is not there.{hint}")
    return list(schema.columns), [name for name in names if name not in schema.user_columns]
