"""Delimited text: bytes to named columns of strings, with every fault named by its line or row."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, UsageError
from .arrays import read_bytes
from .words import reason, show

if TYPE_CHECKING:
    import polars as pl

SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity|nan)", re.IGNORECASE)


def is_number(cell: str) -> bool:
    """Whether a cell is a plain decimal number, an infinity or NaN."""
    return NUMBER.fullmatch(cell.strip()) is not None


def read_text(
    path: Path, *, header: str, sep: str | None, encoding: str, missing: tuple[str, ...]
) -> tuple[pl.DataFrame, list[str]]:
    """Return the cells of a delimited file as strings (None where missing), and notes.

    Raises DataError for what is no such table: another encoding, ragged rows, duplicate names, no rows.
    """
    if header not in ("auto", "yes", "no"):
        raise UsageError(f"header is {header!r}: expected auto, yes or no.")
    text = _decode(path, read_bytes(path), encoding)
    if not text.strip():
        raise DataError(f"{path.name} is empty.")
    separator, notes = _separator(path, text, sep)
    first = _first_row(path, text, separator)
    named = header == "yes" or (
        header == "auto" and any(not is_number(cell) and cell not in missing and cell != "" for cell in first)
    )
    cells = _parse(path, text, separator, named)
    if cells.width != len(first):
        raise DataError(
            f"{path.name}: the first line has {len(first)} fields, the table {cells.width}. Check its quotes."
        )
    if named:
        names, unnamed = _names(path, first)
        notes = [*unnamed, *notes]
        if header == "auto" and (numbers := [cell for cell in first if is_number(cell)]):
            held = show(numbers[0])[1:-1]
            notes.append(f"the first line is taken for a header, yet holds {held}; --header no makes it a row.")
    else:
        names = [f"column{i + 1}" for i in range(len(first))]
        notes.append("no header line; columns are named column1, column2, ...")
    if not len(cells):
        raise DataError(f"{path.name} has a header but no rows.")
    cells.columns = names
    if named and not first[0] and len(names) > 1 and cells[names[0]].to_list() == [str(i) for i in range(len(cells))]:
        cells = cells.drop(names[0])
        notes[0] = "the first column has no name and counts the rows; left out as an index."
    return _blank(cells, missing), notes


def _decode(path: Path, content: bytes, encoding: str) -> str:
    try:
        text = content.decode(encoding)
    except LookupError:
        raise UsageError(f"unknown encoding {encoding!r}. Use utf-8, cp1252, latin-1, utf-16, ...") from None
    except UnicodeDecodeError as error:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{path.name} is UTF-16. Try --encoding utf-16.") from None
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        if b"\0" in content:
            raise DataError(f"{path.name} is not a text table: byte 0x{byte:02x} at line {line}.") from None
        what = "UTF-8" if encoding.lower().replace("-", "") == "utf8" else encoding
        hint = "It looks like cp1252; try --encoding cp1252." if what == "UTF-8" else "Try another --encoding."
        raise DataError(f"{path.name} is not {what}: byte 0x{byte:02x} at line {line}. {hint}") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path.name} is not a text table: NUL byte at line {line}.")
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    # blank lines at the top would be taken for a header
    return lines.lstrip("\n")


def _separator(path: Path, text: str, sep: str | None) -> tuple[str, list[str]]:
    """Return the delimiter: the given one, else one that cuts the first lines into equally many fields."""
    if sep is not None:
        separator = SEPARATORS.get(sep, sep)
        if len(separator) != 1:
            raise UsageError(f"sep is {sep!r}: expected one character, or tab.")
        return separator, []
    head = [line for line in text.split("\n", 20)[:20] if line.strip()]
    usual = "\t" if ".tsv" in path.name.lower() else ","
    # tabs, semicolons and bars are rarely part of a cell; commas may be decimal, so the comma comes last
    for candidate in dict.fromkeys((usual if usual == "\t" else ";", "\t", ";", "|", ",")):
        fields = {len(row) for row in csv.reader(head, delimiter=candidate)}
        if len(fields) == 1 and fields != {1}:
            return candidate, [] if candidate == usual else [
                f"delimiter {show(candidate)} detected; override with --sep."
            ]
    return max((usual, ";", "\t", "|"), key=head[0].count), []


def _first_row(path: Path, text: str, separator: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader(io.StringIO(text, newline=""), delimiter=separator))]
    except csv.Error as error:
        raise DataError(f"{path.name}: line 1: {reason(error)}. Is a quote left open?") from None


def _parse(path: Path, text: str, separator: str, named: bool) -> pl.DataFrame:
    """Return all cells below the header as strings."""
    import polars as pl

    try:
        cells = pl.read_csv(
            text.encode(), has_header=False, infer_schema=False, separator=separator, raise_if_empty=False
        )
    except pl.exceptions.PolarsError as error:
        _diagnose(path, text, separator, named)
        raise DataError(f"{path.name} cannot be read as a table: {reason(error)}.") from None
    # polars pads short rows without a word, and a quote can swallow lines: only then use the slow reader
    if '"' in text or cells.to_series(cells.width - 1).null_count():
        _diagnose(path, text, separator, named)
    return cells.slice(1) if named else cells


def _diagnose(path: Path, text: str, separator: str, named: bool) -> None:
    """Raise DataError that names the first row with a fault; return if there is none."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    expected, start = 0, 1
    try:
        for row, fields in enumerate(reader, start=0 if named else 1):
            expected = expected or len(fields)
            if len(fields) not in (expected, 0):
                raise DataError(f"{path.name}: row {row} has {len(fields)} fields, expected {expected}.")
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path.name}: line {start}: {reason(error)}. Is a quote left open?") from None


def _names(path: Path, first: list[str]) -> tuple[list[str], list[str]]:
    notes: list[str] = []
    names: list[str] = []
    for i, name in enumerate(first):
        if not name:
            name = f"column{i + 1}"
            notes.append(f"column {i + 1} has no name; called {name}.")
        if name in names:
            where = f"columns {names.index(name) + 1} and {i + 1}"
            raise DataError(f"{path.name}: column name {show(name)} appears twice ({where}). Rename one.")
        names.append(name)
    return names, notes


def _blank(cells: pl.DataFrame, missing: tuple[str, ...]) -> pl.DataFrame:
    """Strip the cells; make missing ones None. The empty cell is always missing."""
    import polars as pl

    stripped = pl.all().str.strip_chars()
    return cells.select(pl.when(stripped.is_in(["", *missing])).then(None).otherwise(stripped).name.keep())
