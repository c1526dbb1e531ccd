"""Cells put into the gaps of a source, all else as it stands: byte for byte in a text table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .arff import layout_of_arff, quote_of
from .excel import harmless
from .fields import Levels, Number
from .reading import Reading
from .schema import Schema
from .text import layout_of, raw_text, read_string
from .write import as_words, typed

if TYPE_CHECKING:
    import polars as pl

Cells = Mapping[tuple[int, str], str]  # (row of the source from 1, column) -> what is put there


def column_of(schema: Schema, name: str, values: NDArray[np.float64]) -> pl.Series:
    """Return values of one modelled column as the user's own: words, dates, integers."""
    import polars as pl

    assert schema.columns is not None
    kinds = dict(zip(schema.user_columns, schema.dtypes or ()))
    field = dict(zip(schema.columns, schema.kinds)).get(name)
    if isinstance(field, Levels) or (field is not None and field.kind == "date"):
        return as_words(name, values, field, kinds[name])
    return typed(pl.Series(name, values), kinds.get(name, "Float64"))


def cells_of(schema: Schema, values: NDArray[np.float64], missing: NDArray[np.bool_], rows: NDArray[np.int64]) -> Cells:
    """Return the text of each missing cell of a table, values (N, columns), by the number of its row in the source."""
    found: dict[tuple[int, str], str] = {}
    comma = Reading.of(schema.reading).decimal == ","
    for i, name in enumerate(schema.columns or ()):
        gaps = np.flatnonzero(missing[:, i])
        field = schema.kinds[i] if schema.kinds else None
        for row, value in zip(rows[gaps].tolist(), column_of(schema, name, values[gaps, i]).to_list()):
            text = _text(value, field.decimals if isinstance(field, Number) else -1)
            found[row, name] = text.replace(".", ",") if comma and isinstance(value, float) else text
    return found


def _text(value: Any, decimals: int) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{decimals}f}" if decimals >= 0 else f"{value:.6g}"
    return str(value)


def filled_text(path: Path, reading: Reading, cells: Cells, *, excel_safe: bool = False) -> bytes:
    """Return the bytes of a text table with these cells in the place of missing ones, and nothing else changed.

    With `excel_safe` words that a spreadsheet would run get a ' as well, wherever they stand. Raises DataError where
    such a cell is not missing.
    """
    text, arff = raw_text(path, reading), ".arff" in path.name.lower()
    layout = (layout_of_arff if arff else layout_of)(path, read_string(path, reading) if not arff else text, reading)
    position = {name: i for i, name in enumerate(layout.names)}
    wanted: dict[int, dict[int, str]] = {}
    for (row, name), value in cells.items():
        wanted.setdefault(row, {})[position[name]] = value
    start = layout.start + len(text[layout.start :]) - len(text[layout.start :].lstrip("\ufeff\r\n"))
    out, row = [text[:start]], -int(layout.named)  # the header is row 0
    for record, end in _records(text, start):
        quote = quote_of(record) if arff else '"'
        fields = _fields(record, layout.separator, quote)
        if layout.is_row(record, fields):
            row += 1
            for i, value in wanted.get(row, {}).items():
                if fields[i].strip().strip(quote).strip() not in reading.words:
                    raise DataError(f"{path.name}: row {row} has changed since it was read. Run again.")
                fields[i] = _quoted(value, layout.separator, quote)
        if excel_safe:
            fields = [_harmless(cell, quote, reading.decimal) for cell in fields]
        out.append(layout.separator.join(fields) + end)
    return "".join(out).encode(reading.encoding)


def _records(text: str, start: int) -> Iterator[tuple[str, str]]:
    """Yield each record with the end of its line; a line within quotes does not end one."""
    begin, quoted = start, False
    for found in re.compile(r'"|\r\n|\n|\r').finditer(text, start):
        if found[0] == '"':
            quoted = not quoted
        elif not quoted:
            yield text[begin : found.start()], found[0]
            begin = found.end()
    if begin < len(text):
        yield text[begin:], ""


def _fields(record: str, separator: str, quote: str) -> list[str]:
    """Return the cells of a record as they stand, quotes and spaces included."""
    fields, begin, quoted = [], 0, False
    for i, letter in enumerate(record):
        if letter == quote:
            quoted = not quoted
        elif letter == separator and not quoted:
            fields.append(record[begin:i])
            begin = i + 1
    return [*fields, record[begin:]]


def _harmless(cell: str, quote: str, decimal: str) -> str:
    """Return a cell as it stands in the file with ' before its words, within its quotes, if it would be run."""
    start = cell[: len(cell) - len(cell.lstrip(" "))]
    start += quote if cell[len(start) :].startswith(quote) else ""
    words = cell[len(start) :]
    return cell if harmless(plain := words.rstrip(f"{quote} "), decimal) == plain else f"{start}'{words}"


def _quoted(value: str, separator: str, quote: str) -> str:
    special = any(letter in value for letter in (separator, quote, "\n", "\r")) or value != value.strip()
    return f"{quote}{value.replace(quote, quote * 2)}{quote}" if special else value


def filled_frame(frame: Any, schema: Schema, values: NDArray[np.float64], missing: NDArray[np.bool_]) -> Any:
    """Return a data frame of the same kind with the missing cells of the modelled columns filled."""
    import narwhals as nw

    table = nw.from_native(frame, eager_only=True)
    for i, name in enumerate(schema.columns or ()):
        gaps = np.flatnonzero(missing[:, i])
        if not len(gaps):
            continue
        cells = table[name].to_list()
        for row, value in zip(gaps.tolist(), column_of(schema, name, values[gaps, i]).to_list()):
            cells[row] = value
        column = nw.new_series(name, cells, backend=table.implementation)
        kind = table[name].dtype
        exact = not kind.is_integer() or all(value == int(value) for value in cells)
        table = table.with_columns(column.cast(kind) if kind != nw.Unknown and exact else column)
    return table.to_native()
