"""Columns of numbers, words and dates, from the cells of a text table or of a data frame; a bad cell is named."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .reading import Reading
from .words import count, show

if TYPE_CHECKING:
    import narwhals as nw
    import polars as pl

    from .large_text import TextColumns

EXACT = 2**53  # from here on, neighbouring integers are one float64
WRITTEN = "text "  # before the form of dates that a text table holds
DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d")
COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?\d{1,3}([.,' ]\d{3})+([.,]\d+)?")
WRITTEN_OTHERWISE = (  # what to do about either
    "; use --decimal , (or take the commas out, where they part thousands).",
    ". Take the thousands separators out.",
)


@dataclass(frozen=True)
class Column:
    """Values (N,) float64, NaN where missing, and the user's type of them.

    exact  (N,) what stands there, where no float can hold it: integers beyond 2^53, or words; a missing one is empty.
           The values are then all NaN.
    words  (N,) the same of a column of words, which may be categories
    times  (N,) float64 seconds since 1970 of a column of dates, NaN where missing
    """

    name: str
    values: NDArray[np.float64]
    dtype: str
    exact: NDArray[Any] | None = None
    words: NDArray[Any] | None = None
    times: NDArray[np.float64] | None = None


class Cells(Protocol):
    """The cells of a table, whatever holds them."""

    @property
    def source(self) -> str:
        """What holds them, for messages."""
        ...

    @property
    def reading(self) -> Reading:
        """How they are read."""
        ...

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        ...

    def __len__(self) -> int: ...

    def column(self, name: str, *, new: bool, form: str | None = None) -> Column:
        """Return a column as numbers, else as it stands; in `new` data for a model nothing but numbers will do.

        `form` asks for "words" or a "date" in their place, "number" for nothing but numbers.
        """
        ...

    def exact(self, name: str) -> NDArray[Any]:
        """Return a column as it stands: integers, or words."""
        ...


def as_they_stand(words: Sequence[str | None]) -> NDArray[Any]:
    """Return integers of 64 bits where every word is written as one (007 is not), else the words; None is ""."""
    kept = ["" if word is None else word for word in words]
    if all(re.fullmatch(r"0|-?[1-9]\d{0,18}", word) and -(2**63) <= int(word) < 2**63 for word in kept):
        return np.array([int(word) for word in kept], dtype=np.int64)
    return np.array(kept, dtype=str)


def _word(name: str, exact: NDArray[Any]) -> Column:
    return Column(name, np.full(len(exact), np.nan), "String", exact)


def _words(name: str, words: NDArray[Any], dtype: str = "String") -> Column:
    return Column(name, np.full(len(words), np.nan), dtype, words, words)


def _dates(name: str, words: NDArray[Any], seconds: NDArray[np.float64], dtype: str) -> Column:
    return Column(name, np.full(len(words), np.nan), dtype, words, times=seconds)


def _no_date(source: str, name: str, row: int, cell: object) -> DataError:
    got = f"{source}: column {show(name)} row {row} is {show(str(cell))}"
    return DataError(f"{got}, which is no date such as 2024-05-01. Correct it.")


def _identifier(source: str, name: str, exact: NDArray[Any], large: NDArray[np.bool_], new: bool) -> Column:
    """Return a column of integers that are names; raise DataError where only some are too `large` to be numbers."""
    number, row = int(large.sum()), int(large.argmax())
    if not new and 2 * number >= len(exact):
        return _word(name, exact)
    many = f" ({count(number, 'such row')})" if number > 1 else ""
    raise DataError(
        f"{source}: column {show(name)} row {row + 1} holds {show(str(exact[row]))[1:-1]}{many}, "
        f"an integer beyond 2^53, which a float would round. Correct it, or leave the column out with {drop(name)}."
    )


def drop(name: str) -> str:
    """Return the option that leaves a column out, as a shell takes it."""
    return f"--drop {shlex.quote(show(name)[1:-1])}"


def _without_infinities(source: str, name: str, values: NDArray[np.float64], reading: Reading) -> NDArray[np.float64]:
    """Return the values, infinities as NaN where that was asked for. Raises DataError naming the first."""
    bad = np.flatnonzero(np.isinf(values))
    if not len(bad) or reading.inf_as_missing:
        return np.where(np.isinf(values), np.nan, values) if len(bad) else values
    many = f" ({count(len(bad), 'such row')})" if len(bad) > 1 else ""
    got = f"column {show(name)} row {bad[0] + 1} is {values[bad[0]]}{many}"
    raise DataError(f"{source}: {got}. Replace it or use --inf-as-missing.")


@dataclass(frozen=True)
class TextCells:
    """Cells of a delimited file: strings, None where missing."""

    source: str
    frame: pl.DataFrame | TextColumns
    reading: Reading

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return self.frame.columns

    def __len__(self) -> int:
        return len(self.frame)

    def exact(self, name: str) -> NDArray[Any]:
        """Return the integers or words of a column."""
        return as_they_stand(self.frame[name].to_list())

    def column(self, name: str, *, new: bool, form: str | None = None) -> Column:
        """Return the numbers, words or dates of a column. Raises DataError naming a cell that is none."""
        import polars as pl

        cells = self.frame[name]
        if form == "words":
            return _words(name, np.array(cells.fill_null("").to_list(), dtype=str))
        if form == "date":
            return self._times(name, strict=True)
        filled = cells.drop_nulls()
        if len(filled) and filled.str.to_lowercase().is_in(["true", "false"]).all():
            truth = (cells.str.to_lowercase() == "true").cast(pl.Float64)
            words = np.array(cells.fill_null("").to_list(), dtype=str)
            return Column(name, truth.fill_null(np.nan).to_numpy().copy(), "Boolean", words=words)
        plain = cells
        if self.reading.decimal == ",":  # a point can then only part thousands: no number
            plain = cells.str.replace_all(".", "'", literal=True).str.replace(",", ".", literal=True)
        numbers = plain.cast(pl.Float64, strict=False)
        bad = (numbers.is_null() & cells.is_not_null()).arg_true()
        if len(bad):
            new = new or form == "number"
            if not new and filled.n_unique() == 1:
                return _word(name, np.array(cells.fill_null("").to_list(), dtype=str))
            if new or len(bad) * 2 < len(filled) or any(self._numbers_otherwise(cells, bad.to_list())):
                self._refuse(name, cells, bad.to_list())
            return self._times(name, strict=False)
        whole = bool(filled.str.contains(r"^[+-]?\d+$").all())
        values = numbers.fill_null(np.nan).to_numpy().copy()
        large = np.abs(values) >= EXACT
        if whole and large.any():
            return _identifier(self.source, name, self.exact(name), large, new)
        values = _without_infinities(self.source, name, values, self.reading)
        return Column(name, values, "Int64" if whole else "Float64")

    def _times(self, name: str, *, strict: bool) -> Column:
        """Return the dates of a column; its words where not all of them are dates of one form, unless `strict`."""
        import polars as pl

        cells = self.frame[name]
        words = np.array(cells.fill_null("").to_list(), dtype=str)
        some = cells.drop_nulls().head(100)
        for form in DATES:
            if some.str.to_datetime(form, strict=False).null_count():
                continue
            times = cells.str.to_datetime(form, strict=False, time_unit="us")
            if times.null_count() == cells.null_count():
                seconds = (times.dt.epoch("us").cast(pl.Float64) / 1e6).fill_null(np.nan).to_numpy().copy()
                return _dates(name, words, seconds, f"{WRITTEN}{form}")
        if strict:
            bad = cells.str.to_datetime(DATES[0], strict=False).is_null() & cells.is_not_null()
            raise _no_date(self.source, name, int(bad.arg_max() or 0) + 1, cells[int(bad.arg_max() or 0)])
        return _words(name, words)

    def _numbers_otherwise(self, cells: pl.Series, bad: list[int]) -> tuple[list[int], list[int]]:
        """Return which of the cells that are no numbers have a decimal comma, and which have their thousands parted.

        None of either, unless they are most of them: a few may be words for what is missing.
        """
        comma = [i for i in bad if self.reading.decimal == "." and COMMA.fullmatch(cells[i])]
        parted = [i for i in bad if THOUSANDS.fullmatch(cells[i])]
        return comma if 2 * len(comma) > len(bad) else [], parted if 2 * len(parted) > len(bad) else []

    def _refuse(self, name: str, cells: pl.Series, bad: list[int]) -> None:
        """Raise DataError with the remedy that fits most of what is no number."""
        where = f"{self.source}: column {show(name)}"
        for places, remedy in zip(self._numbers_otherwise(cells, bad), WRITTEN_OTHERWISE):
            if places:
                like = f"{count(len(places), 'value')} like {show(cells[places[0]])} (row {places[0] + 1})"
                raise DataError(f"{where} has {like}{remedy}")
        row, value = bad[0] + 1, cells[bad[0]]
        if len(bad) * 2 < len(cells) - cells.null_count():
            word = shlex.quote(show(value)[1:-1])
            raise DataError(
                f"{where} is numeric but row {row} holds {show(value)} ({count(len(bad), 'such row')}). "
                f"Add --missing {word}, or leave the column out with {drop(name)}."
            )
        raise DataError(
            f"{where} holds text: row {row} is {show(value)}, where a number was expected. "
            f"Correct it, or leave the column out with {drop(name)}."
        )


@dataclass(frozen=True)
class FrameCells:
    """Cells of a data frame."""

    source: str
    frame: nw.DataFrame[Any]
    reading: Reading

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return self.frame.columns

    def __len__(self) -> int:
        return len(self.frame)

    def exact(self, name: str) -> NDArray[Any]:
        """Return the numbers or words of a column; where some are missing, words."""
        values = self.frame[name]
        if values.dtype.is_numeric() and not values.null_count():
            return values.to_numpy()
        return as_they_stand([None if value is None else str(value) for value in values.to_list()])

    def _as_words(self, name: str) -> NDArray[Any]:
        return np.array(["" if value is None or value != value else str(value) for value in self.frame[name].to_list()])

    def column(self, name: str, *, new: bool, form: str | None = None) -> Column:
        """Return the numbers, words or dates of a column. Raises DataError for other things, and for infinities."""
        import narwhals as nw

        cells = self.frame[name]
        kind = cells.dtype
        filled = cells.drop_nulls()
        number = kind.is_numeric() or kind == nw.Boolean
        if form == "words":
            return _words(name, self._as_words(name), str(kind) if number else "String")
        if kind in (nw.Date, nw.Datetime) and form != "number" and (form == "date" or not new):
            times = cells.cast(nw.Datetime("us")).to_list()
            epoch = datetime(1970, 1, 1)
            seconds = [np.nan if t is None else (t.replace(tzinfo=None) - epoch).total_seconds() for t in times]
            return _dates(name, self._as_words(name), np.array(seconds), "Date" if kind == nw.Date else "Datetime")
        if kind in (nw.String, nw.Categorical, nw.Enum) and form is None and not new and filled.n_unique() > 1:
            return _words(name, self._as_words(name))
        if not (kind.is_numeric() or kind == nw.Boolean):
            if not new and len(filled) and kind in (nw.String, nw.Categorical, nw.Enum) and filled.n_unique() == 1:
                return _word(name, self.exact(name).astype(str))
            bad = next(((row, str(value)) for row, value in enumerate(cells, start=1) if value is not None), (1, ""))
            raise DataError(
                f"{self.source}: column {show(name)} holds {kind}: row {bad[0]} is {show(bad[1])}, where a number was "
                f"expected. Correct it, or leave the column out with {drop(name)}."
            )
        if kind.is_integer() and len(filled) and max(-int(filled.min()), int(filled.max())) >= EXACT:
            large = np.array([value is not None and abs(int(value)) >= EXACT for value in cells.to_list()])
            return _identifier(self.source, name, self.exact(name), large, new)
        # through a list of floats where there are nulls: the frame libraries disagree on what becomes of them
        if cells.null_count():
            values = np.array([np.nan if value is None else float(value) for value in cells.to_list()])
        else:
            values = cells.to_numpy().astype(np.float64)
        return Column(name, _without_infinities(self.source, name, values, self.reading), str(kind))
