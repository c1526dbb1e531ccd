"""Delimited text: bytes to named columns of strings, with every fault named by its line or row."""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Layout:
    """How a text table is laid out: what stands between its cells, the name of each place, whether a line says them."""

    separator: str
    names: tuple[str, ...]
    named: bool
    notes: tuple[str, ...] = ()
    start: int = 0  # where the lines of the table begin, in letters
    comment: str | None = None  # what a line begins with that is no row

    def is_row(self, record: str, fields: Sequence[str]) -> bool:
        """Whether a record is the header or a row: in a table of one column a blank line is a missing value."""
        if self.comment is not None and record.lstrip().startswith(self.comment):
            return False
        return len(self.names) == 1 or len(fields) > 1 or bool("".join(fields).strip())


def layout_of(path: Path, text: str, reading: Reading) -> Layout:
    """Return how the text of a delimited file is laid out. Raises DataError for two columns of one name."""
    separator, notes = _separator(path, text, reading)
    first = first_row(path, text, separator)
    if reading.header == "yes" or (reading.header == "auto" and _is_header(text, separator, first, reading)):
        names, unnamed = _names(path, first)
        notes = [*unnamed, *notes]
        if reading.header == "auto" and (numbers := [c for c in first if is_number(c, reading.decimal)]):
            held = show(numbers[0])[1:-1]
            notes.append(f"the first line is taken for a header, yet holds {held}; --header no makes it a row.")
        return Layout(separator, tuple(names), True, tuple(notes))
    notes.append("no header line; columns are named column1, column2, ...")
    if reading.header == "auto" and (words := [c for c in first if not is_number(c, reading.decimal) and c]):
        held = show(words[0])[1:-1]
        notes[-1] += f" --header yes makes names of the first line, which holds {held}."
    return Layout(separator, tuple(f"column{i + 1}" for i in range(len(first))), False, tuple(notes))


def read_text(path: Path, reading: Reading) -> tuple[pl.DataFrame, list[str]]:
    """Return the cells of a delimited file as strings (None where missing), and notes.

    Raises DataError for what is no such table: another encoding, ragged rows, duplicate names, no rows.
    """
    text = read_string(path, reading)
    layout = layout_of(path, text, reading)
    cells, blank = parse(path, text, layout.separator, layout.named)
    notes = list(layout.notes)
    if blank:
        notes.append(f"{count(blank, 'blank line')} skipped.")
    if cells.width != len(layout.names):
        raise DataError(
            f"{path.name}: the first line has {len(layout.names)} fields, the table {cells.width}. Check its quotes."
        )
    if not len(cells):
        raise DataError(f"{path.name} has a header but no rows.")
    names = list(layout.names)
    cells.columns = names
    unnamed = layout.named and not first_row(path, text, layout.separator)[0]
    if unnamed and len(names) > 1 and cells[names[0]].to_list() == [str(i) for i in range(len(cells))]:
        cells = cells.drop(names[0])
        notes[0] = "the first column has no name and counts the rows; left out as an index."
    return missing_as_none(cells, reading.words), notes


def read_string(path: Path, reading: Reading) -> str:
    """Return the text of a file, lines ended by one newline each. Raises DataError for what is no text, or empty."""
    text = decoded(path, _read_lines(path), reading.encoding)
    if not text.strip():
        raise DataError(f"{path.name} is empty.")
    return text


def raw_text(path: Path, reading: Reading) -> str:
    """Return the text of a file with its own ends of lines; encoded again, it is the file."""
    return _read_lines(path).decode(reading.encoding)


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


def decoded(path: Path, content: bytes, encoding: str) -> str:
    """Return bytes as text, lines ended by one newline each. Raises DataError for what is no text."""
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


def _is_header(text: str, separator: str, first: list[str], reading: Reading) -> bool:
    """Whether the first line names the columns: it holds words, not numbers wherever the next lines hold numbers."""

    def number(cell: str) -> bool:
        return is_number(cell, reading.decimal)

    if all(number(cell) or cell in reading.words for cell in first):
        return False
    head = "\n".join(text.split("\n", 50)[1:50])
    try:
        rows = [
            [cell.strip() for cell in row] for row in csv.reader(io.StringIO(head, newline=""), delimiter=separator)
        ]
    except csv.Error:
        return True
    filled = [[cell for cell in column if cell not in reading.words] for column in zip(*rows)]
    numeric = [i for i, cells in enumerate(filled[: len(first)]) if cells and all(number(cell) for cell in cells)]
    return not numeric or any(not number(first[i]) for i in numeric)


def first_row(path: Path, text: str, separator: str) -> list[str]:
    """Return the cells of the first line, stripped. Raises DataError for a quote that is left open."""
    try:
        return [cell.strip() for cell in next(csv.reader(io.StringIO(text, newline=""), delimiter=separator))]
    except csv.Error as error:
        raise DataError(f"{path.name}: line 1: {reason(error)}. Is a quote left open?") from None


def parse(path: Path, text: str, separator: str, named: bool) -> tuple[pl.DataFrame, int]:
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


def missing_as_none(cells: pl.DataFrame, missing: tuple[str, ...]) -> pl.DataFrame:
    """Strip the cells; make missing ones None."""
    import polars as pl

    stripped = pl.all().str.strip_chars()
    return cells.select(pl.when(stripped.is_in(list(missing))).then(None).otherwise(stripped).name.keep())
