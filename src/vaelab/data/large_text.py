"""Delimited text that is larger than the memory: read part by part by the reader of small files, kept as columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError
from .arrays import read_parts
from .reading import Reading
from .stored import Cache, full, scratch_folder
from .text import LONGEST, Layout, decoded, first_row, layout_of, missing_as_none, parse
from .words import count

if TYPE_CHECKING:
    import polars as pl

PART = 2**24  # bytes of text in memory
END = re.compile(rb"[^\r\n]\r?\n(?=[^\r\n])")  # of a line that no blank line follows
BY_BYTES = ("utf8", "ascii", "latin1", "iso88591", "cp1252", "windows1252")  # whose newline is one byte, always


def is_large(path: Path, reading: Reading, cache: Cache) -> bool:
    """Whether a file is so large, and of an encoding that can be cut at its newlines."""
    known = re.sub(r"[-_]", "", reading.encoding.lower()) in BY_BYTES
    return known and path.stat().st_size >= cache.least


class TextColumns:
    """The cells of a large text table as strings, None where missing, from `with` to its end.

    Each column is read when it is asked for, from a scratch folder beside the cache. Raises DataError for what is no
    such table, EnvironmentFault where the folder cannot be written.
    """

    def __init__(self, cache: Cache, path: Path, reading: Reading) -> None:
        self.cache, self.path, self.reading = cache, path, reading
        self.parts: list[Path] = []
        self.columns: list[str] = []
        self.notes: list[str] = []
        self.rows, self.unnamed = 0, False

    def __enter__(self) -> TextColumns:
        try:
            self.cache.folder.mkdir(parents=True, exist_ok=True)
            self.place = scratch_folder(self.cache, "text")
            try:
                self._read()
            except BaseException:
                self.place.cleanup()
                raise
        except OSError as error:
            raise full(self.cache, error) from error
        return self

    def __exit__(self, *error: object) -> None:
        self.place.cleanup()

    def _read(self) -> None:
        path, reading, blank, line, layout = self.path, self.reading, 0, 1, None
        for content in pieces(path):
            try:
                text = decoded(path, content, reading.encoding)
                layout = layout or self._begun(path, text, reading)
                cells, skipped = parse(path, text, layout.separator, line == 1 and layout.named)
                self._fits(path, cells, layout)
            except DataError as error:
                where = f" Rows and lines are counted from line {line:,}." if line > 1 else ""
                raise DataError(f"{error}{where}") from None
            cells.columns = self.columns
            part = Path(self.place.name) / f"{len(self.parts):06}.parquet"
            missing_as_none(cells, reading.words).write_parquet(part)
            self.parts.append(part)
            self.rows, blank, line = self.rows + len(cells), blank + skipped, line + content.count(b"\n")
        if layout is None:
            raise DataError(f"{path.name} is empty.")
        if not self.rows:
            raise DataError(f"{path.name} has a header but no rows.")
        self.notes = [*layout.notes, *([f"{count(blank, 'blank line')} skipped."] if blank else [])]
        self._without_index()

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, name: str) -> pl.Series:
        import polars as pl

        return pl.concat([pl.read_parquet(part, columns=[name]) for part in self.parts])[name]

    def _begun(self, path: Path, text: str, reading: Reading) -> Layout:
        layout = layout_of(path, text, reading)
        self.columns = list(layout.names)
        self.unnamed = layout.named and not first_row(path, text, layout.separator)[0] and len(layout.names) > 1
        return layout

    def _fits(self, path: Path, cells: pl.DataFrame, layout: Layout) -> None:
        if cells.width != len(layout.names):
            names = len(layout.names)
            raise DataError(
                f"{path.name}: the first line has {names} fields, the table {cells.width}. Check its quotes."
            )

    def _without_index(self) -> None:
        """Leave out a first column without a name that counts the rows."""
        if self.unnamed and self[self.columns[0]].to_list() == [str(i) for i in range(self.rows)]:
            self.columns = self.columns[1:]
            self.notes[0] = "the first column has no name and counts the rows; left out as an index."


def pieces(path: Path) -> Iterator[bytes]:
    """Yield the content of a file in pieces of whole lines; a quoted cell with newlines in it is not cut."""
    held = b""
    for part in read_parts(path):
        held += part
        if len(held) < PART:
            continue
        if end := _cut(held):
            yield held[:end]
            held = held[end:]
        elif len(held) > PART + LONGEST:
            raise DataError(f"{path.name}: no row ends in {LONGEST >> 20} MB. Is a quote left open, or is it no table?")
    if held.strip(b"\r\n"):
        yield held


def _cut(held: bytes) -> int:
    """Return the last place where a row ends, not within quotes; 0 where there is none."""
    for near in (2**16, LONGEST):
        for end in reversed([match.end() for match in END.finditer(held, max(0, len(held) - near))]):
            if held.count(b'"', 0, end) % 2 == 0:
                return end
    return 0
