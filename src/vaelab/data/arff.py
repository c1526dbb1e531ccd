"""ARFF files, the format of Weka: declared attributes, then rows; every fault is named by its line."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError
from .kinds import Asked
from .reading import Reading
from .text import Layout, missing_as_none, read_string
from .words import count, reason, show

if TYPE_CHECKING:
    import polars as pl

ATTRIBUTE = re.compile(r"""@attribute\s+('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\S+)\s+(.+)""", re.IGNORECASE)


def read_arff(path: Path, reading: Reading) -> tuple[pl.DataFrame, list[str], dict[str, Asked]]:
    """Return the cells as strings (None where missing), notes, and the kind of each nominal attribute with its levels.

    Raises DataError for what is no such file, for sparse rows, and for rows of another width.
    """
    import polars as pl

    lines = read_string(path, reading).split("\n")
    names: list[str] = []
    kinds: dict[str, Asked] = {}
    start = next((i for i, line in enumerate(lines) if line.strip().lower() == "@data"), None)
    if start is None:
        raise DataError(f"{path.name} has no line @data: it is no ARFF file, or cut short.")
    for number, line in enumerate(lines[:start], start=1):
        if not line.strip().lower().startswith("@attribute"):
            continue
        found = ATTRIBUTE.fullmatch(line.strip())
        if found is None:
            raise DataError(f"{path.name}: line {number} is no attribute: {show(line)}. Write @attribute NAME TYPE.")
        name, kind = _plain(found[1]), found[2].strip()
        if name in names:
            raise DataError(f"{path.name}: attribute {show(name)} is declared twice (line {number}). Rename one.")
        names.append(name)
        if kind.startswith("{") and kind.endswith("}"):
            levels = tuple(dict.fromkeys(_plain(level) for level in _cells(path, kind[1:-1], number)))
            if len(levels) > 1:
                kinds[name] = Asked("category", levels)
    rows = []
    for number, line in enumerate(lines[start + 1 :], start=start + 2):
        if not line.strip() or line.lstrip().startswith("%"):
            continue
        if line.lstrip().startswith("{"):
            raise DataError(f"{path.name}: line {number} is a sparse row, which is not read. Write all values.")
        cells = _cells(path, line, number)
        if len(cells) != len(names):
            got = f"{path.name}: line {number} has {count(len(cells), 'field')}"
            raise DataError(f"{got}, expected {len(names)}.")
        rows.append(cells)
    if not rows:
        raise DataError(f"{path.name} has attributes but no rows.")
    frame = pl.DataFrame(rows, schema=[(name, pl.String) for name in names], orient="row")
    return missing_as_none(frame, reading.words), [], kinds


def layout_of_arff(path: Path, text: str, reading: Reading) -> Layout:
    """Return where the rows of an ARFF file begin, and the names of its attributes."""
    names = read_arff(path, reading)[0].columns
    found = re.search(r"^[ \t]*@data[ \t]*(\r\n|\n|\r)", text, re.IGNORECASE | re.MULTILINE)
    assert found is not None
    return Layout(",", tuple(names), False, start=found.end(), comment="%")


def quote_of(text: str) -> str:
    """Return the quote that cells of a line are in."""
    return "'" if "'" in text and '"' not in text else '"'


def _cells(path: Path, line: str, number: int) -> list[str]:
    try:
        cells = next(csv.reader([line], quotechar=quote_of(line), escapechar="\\", skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise DataError(f"{path.name}: line {number}: {reason(error)}. Is a quote left open?") from None
    return [cell.strip() for cell in cells]


def _plain(name: str) -> str:
    name = name.strip()
    quoted = len(name) > 1 and name[0] in "'\"" and name[-1] == name[0]
    return re.sub(r"\\(.)", r"\1", name[1:-1]) if quoted else name
