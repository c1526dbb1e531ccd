"""Delimited text: bytes to named columns of strings, with every fault named by its line or row."""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, UsageError
from .arrays import read_parts
from .reading import Reading
from .words import count, reason, show

if TYPE_CHECKING:
    import polars as pl

SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity|nan)", re.IGNORECASE)
LONGEST = 2**24  # bytes of one line, characters of one cell: more is no table, and would fill the memory
_csv_limit = threading.Lock()


def is_number(cell: str, decimal: str = ".") -> bool:
    """Whether a cell is a plain decimal number, an infinity or NaN."""
    return NUMBER.fullmatch(cell.strip().replace(decimal, ".")) is not None


def read_text(path: Path, reading: Reading) -> tuple[pl.DataFrame, list[str]]:
    """Return the cells of a delimited file as strings (None where missing), and notes.

    Raises DataError for what is no such table: another encoding, ragged rows, duplicate names, no rows.
    """
    header = reading.header
    text = _decode(path, _read_lines(path), reading.encoding)
    if not text.strip():
        raise DataError(f"{path.name} is empty.")
    separator, notes = _separator(path, text, reading)
    first = _first_row(path, text, separator)
    named = header == "yes" or (
        header == "auto" and any(not is_number(c, reading.decimal) and c not in reading.words for c in first)
    )
    cells, blank = _parse(path, text, separator, named)
    if blank:
        notes.append(f"{count(blank, 'blank line')} skipped.")
    if cells.width != len(first):
        raise DataError(
            f"{path.name}: the first line has {len(first)} fields, the table {cells.width}. Check its quotes."
        )
    if named:
        names, unnamed = _names(path, first)
        notes = [*unnamed, *notes]
        if header == "auto" and (numbers := [c for c in first if is_number(c, reading.decimal)]):
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
    return _blank(cells, reading.words), notes


def _read_lines(path: Path) -> bytes:
    """Return the content of a file of lines. Raises DataError at a line that has no end, before more is read."""
    parts: list[bytes] = []
    line, length = 1, 0
    for part in read_parts(path):
        parts.append(part)
        end = max(part.rfind(b"\n"), part.rfind(b"\r"))
        line, length = line + part.count(b"\n"), length + len(part) if end < 0 else len(part) - end - 1
        if length > LONGEST:
            raise DataError(
                f"{path.name}: line {line} is longer than {LONGEST >> 20} MB. Is a quote left open, or is it no table?"
            )
    return b"".join(parts)


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
    # blank lines at the top would be taken for a header, at the end for missing values
    return lines.strip("\n") + "\n"


def _separator(path: Path, text: str, reading: Reading) -> tuple[str, list[str]]:
    """Return the delimiter: the given one, else one that cuts the first lines into equally many fields."""
    if reading.sep is not None:
        separator = SEPARATORS.get(reading.sep, reading.sep)
        if len(separator) != 1:
            raise UsageError(f"sep is {reading.sep!r}: expected one character, or tab.")
        return separator, []
    head = [line for line in text.split("\n", 20)[:20] if line.strip()]
    usual = "\t" if ".tsv" in path.name.lower() else ","
    if reading.decimal == "," and '"' not in text and usual == ",":
        usual = ";"
    # tabs, semicolons and bars are rarely part of a cell; commas may be decimal, so the comma comes last
    candidates = dict.fromkeys((usual if usual == "\t" else ";", "\t", ";", "|", *([","] if usual == "," else ())))
    for candidate in candidates:
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


def _parse(path: Path, text: str, separator: str, named: bool) -> tuple[pl.DataFrame, int]:
    """Return all cells below the header as strings, and how many blank lines lay between them."""
    import polars as pl

    blank: list[int] = []
    try:
        cells = pl.read_csv(
            text.encode(), has_header=False, infer_schema=False, separator=separator, raise_if_empty=False
        )
        # polars pads short rows and blank lines without a word, and a quote can swallow lines
        sure = '"' not in text and not cells.to_series(cells.width - 1).null_count()
    except pl.exceptions.PolarsError:
        cells, sure = pl.DataFrame(), False
    if not sure:
        records, width, blank = _checked(path, text, separator, named)
        if cells.shape != (records, width):  # a quote within a cell: only the slow reader takes it as it stands
            with _cells_up_to(LONGEST):
                rows = [fields or [None] * width for fields in _reader(text, separator)]
            cells = pl.DataFrame(rows, schema=[(f"{i}", pl.String) for i in range(width)], orient="row")
        if blank:
            cells = cells.with_row_index("").filter(~pl.col("").is_in(blank)).drop("")
    return cells.slice(1) if named else cells, len(blank)


def _reader(text: str, separator: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)


def _checked(path: Path, text: str, separator: str, named: bool) -> tuple[int, int, list[int]]:
    """Return the number of records, their width, and which are blank lines. Raises DataError naming the first fault.

    In a table of one column a blank line is a missing value.
    """
    reader = _reader(text, separator)
    expected, start, records = 0, 1, 0
    blank: list[int] = []
    try:
        with _cells_up_to(LONGEST):
            for fields in reader:
                expected = expected or len(fields)
                if expected > 1 and len(fields) < 2 and not "".join(fields).strip():
                    blank.append(records)
                elif len(fields) not in (expected, 0):
                    row = records - len(blank) + (0 if named else 1)
                    raise DataError(f"{path.name}: row {row} has {count(len(fields), 'field')}, expected {expected}.")
                records += 1
                start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path.name}: line {start}: {reason(error)}. Is a quote left open?") from None
    return records, expected, blank


@contextmanager
def _cells_up_to(limit: int) -> Iterator[None]:
    """Let the csv module read cells of this many characters; its limit is the whole process's, and is put back."""
    with _csv_limit:
        before = csv.field_size_limit(limit)
        try:
            yield
        finally:
            csv.field_size_limit(before)


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
    """Strip the cells; make missing ones None."""
    import polars as pl

    stripped = pl.all().str.strip_chars()
    return cells.select(pl.when(stripped.is_in(list(missing))).then(None).otherwise(stripped).name.keep())
