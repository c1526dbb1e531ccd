"""What each column of a mixed table holds: asked for, or inferred by stated rules.

A column of words is a date where every word is one (2024-05-01, 2024-05-01 13:30:00), an identifier where every word
differs, text where more than half of the words differ and more than 128 of them, else a category. Whole numbers are
boolean if 0 and 1, ordinal if they lie on a grid of at most 128 values with ten rows each on average, counts if they
begin at 0 and take a tenth of the values below their largest, else real numbers. All other numbers are real; with a
spike where one value makes up more than 15 % of the rows. Identifiers and text are not modelled.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError, UsageError, suggest
from .columns import Cells, Column, drop
from .fields import MOST_LEVELS, Count, Field, Grid, Levels, Number
from .words import count, show

WIDEST_ORDINAL, ROWS_PER_LEVEL = 128, 10
FEWEST_ROWS = 20  # by which words that all differ are taken for names of rows
KINDS = ("real", "positive", "count", "ordinal", "category", "boolean", "date", "identifier", "text")
EVERY = "*"  # as the name of a column: all that are not named


@dataclass(frozen=True)
class Asked:
    """A kind that was asked for: `levels` in their order for ordinal words, (low, high) the open ends of a range."""

    kind: str
    levels: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None


def asked_kinds(column: Sequence[str], file: str | None) -> dict[str, Asked]:
    """Return the kinds that "age:count" and a TOML file ask for. Raises UsageError for what is none.

    The file has a table for each column: kind, and where wanted levels = [...] or low and high.
    """
    found: dict[str, Asked] = {}
    if file is not None:
        try:
            content = tomllib.loads(Path(file).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(f"no such file of columns: {file}. Check --columns-file.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} is not a TOML file: {error}.") from None
        for name, entry in content.items():
            found[name] = _entry(file, name, {"kind": entry} if isinstance(entry, str) else entry)
    for item in column:
        name, colon, kind = item.rpartition(":")
        if not colon or not name:
            raise UsageError(f"--column {item}: expected NAME:KIND, such as age:count.")
        found[name] = Asked(_kind(kind, f"--column {item}"))
    return found


def _kind(kind: Any, where: str) -> str:
    if kind not in (*KINDS, "auto"):
        raise UsageError(f"{where}: unknown kind {show(str(kind))}.{suggest(str(kind), KINDS)}")
    return str(kind)


def _entry(file: str, name: str, entry: Any) -> Asked:
    where = f"{file}: column {show(name)}"
    if not isinstance(entry, dict) or not set(entry) <= {"kind", "levels", "low", "high"}:
        raise UsageError(f"{where}: expected kind, levels, low, high.")
    levels, ends = entry.get("levels", ()), (entry.get("low"), entry.get("high"))
    if not isinstance(levels, (list, tuple)) or not all(isinstance(level, str) for level in levels):
        raise UsageError(f"{where}: levels are texts in their order.")
    numbers = [float(end) for end in ends if isinstance(end, (int, float))]
    if ends != (None, None) and not (len(numbers) == 2 and numbers[0] < numbers[1]):
        raise UsageError(f"{where}: a range has a low and a high end, low < high.")
    kind = _kind(entry.get("kind", "ordinal" if levels else "real"), where)
    return Asked(kind, tuple(levels), *numbers)


def for_each(asked: Mapping[str, Asked], names: Sequence[str], kept: Sequence[str]) -> dict[str, Asked]:
    """Return what is asked for each kept column, "*" standing for those not named. UsageError for a wrong name."""
    for name in asked:
        if name not in names and name != EVERY:
            raise UsageError(f"--column {show(name)[1:-1]}: no such column.{suggest(name, list(names))}")
    rest = {EVERY: asked[EVERY]} if EVERY in asked else {}
    found = {name: asked.get(name, rest.get(EVERY)) for name in kept}
    return {name: kind for name, kind in found.items() if kind is not None}


def form_of(asked: Asked | None) -> str | None:
    """Return how the cells of a column must be read for a kind that is asked for; None as they are."""
    if asked is None:
        return None
    if asked.levels:
        return "words"
    return {"category": "words", "identifier": "words", "text": "words", "date": "date",
            "real": "number", "positive": "number", "count": "number"}.get(asked.kind)  # fmt: skip


def with_fields(
    source: str, columns: Sequence[Column], asked: Mapping[str, Asked]
) -> tuple[list[Column], list[Field], list[str]]:
    """Return the columns that are modelled, their cells as numbers, the field of each, and what was left out and why.

    No fields where nothing but numbers is left, and nothing was asked for.
    """
    kept, fields, notes = [], [], []
    why = {"identifier": "differs in every row", "text": "is free text"}
    for column in columns:
        field, values, kind = field_of(source, column, asked.get(column.name))
        if field is None:
            known = f"it {why[kind]}" if column.name not in asked else "as asked"
            notes.append(f"column {show(column.name)} is left out, {known}: nothing can be learned of it.")
            continue
        dtype = "String" if isinstance(field, Levels) and column.dtype == "Boolean" else column.dtype
        kept.append(replace(column, values=values, dtype=dtype))
        fields.append(field)
    if not asked and all(column.exact is None for column in kept):
        return [column for column in columns if column.exact is None], [], notes
    return kept, fields, notes


def known_column(cells: Cells, name: str, field: Field) -> Column:
    """Return a column of new data under the field of a model."""
    if isinstance(field, Levels):
        column = cells.column(name, new=True, form="words")
        assert column.words is not None
        return replace(column, values=known_codes(cells.source, name, field, column.words, cells.reading.unseen))
    if field.kind == "date":
        column = cells.column(name, new=True, form="date")
        assert column.times is not None
        return replace(column, values=column.times)
    return cells.column(name, new=True)


def infer(column: Column) -> str:
    """Return the kind of a column by the rules above."""
    if column.times is not None:
        return "date"
    if column.words is not None:
        times = Counter(column.words.tolist())
        rows = len(column.words) - times.pop("", 0)
        if len(times) == rows >= FEWEST_ROWS:
            return "identifier"
        return "text" if 2 * len(times) > rows and len(times) > WIDEST_ORDINAL else "category"
    seen = column.values[~np.isnan(column.values)]
    if not bool((seen == np.rint(seen)).all()):
        return "real"
    low, high = int(seen.min()), int(seen.max())
    width = high - low + 1
    if (low, high) == (0, 1):
        return "boolean"
    if width <= WIDEST_ORDINAL and ROWS_PER_LEVEL * width <= len(seen):
        return "ordinal"
    return "count" if low == 0 and 10 * len(np.unique(seen)) >= width and high < 2**24 else "real"


def field_of(source: str, column: Column, asked: Asked | None) -> tuple[Field | None, NDArray[np.float64], str]:
    """Return the field of a column, its cells as numbers, and its kind; no field for what is not modelled.

    Raises DataError where the values are not of the kind that was asked for, or too many to be categories.
    """
    kind = infer(column) if asked is None or asked.kind == "auto" else asked.kind
    if kind in ("identifier", "text"):
        return None, column.values, kind
    if kind == "ordinal" and column.words is not None and not (asked and asked.levels):
        raise DataError(
            f"{source}: column {show(column.name)} holds words: write their order in --columns-file, levels = [...]."
        )
    if kind in ("category", "ordinal", "boolean") and column.words is not None:
        levels = _levels(source, column, asked.levels if asked else ())
        return Levels.of(levels, ordered=kind == "ordinal"), codes(levels, column.words), kind
    values = column.values if column.times is None else column.times
    if column.words is not None:
        raise DataError(f"{source}: column {show(column.name)} holds words: it cannot be {kind}. Use category.")
    seen = values[~np.isnan(values)]
    return _numbers(source, column.name, seen, kind, asked), values, kind


def _numbers(source: str, name: str, seen: NDArray[np.float64], kind: str, asked: Asked | None) -> Field:
    """Return the field of numbers. Raises DataError where they are not of this kind."""
    where = f"{source}: column {show(name)}"
    low, high = float(seen.min()), float(seen.max())
    if kind in ("ordinal", "boolean", "count") and not bool((seen == np.rint(seen)).all()):
        raise DataError(f"{where} holds {seen[seen != np.rint(seen)][0]:g}, which is no whole number. Use {name}:real.")
    if kind == "boolean" and not (low >= 0 and high <= 1):
        raise DataError(f"{where} holds {high if high > 1 else low:g}: a boolean is 0 or 1. Use {name}:ordinal.")
    if kind == "count" and low < 0:
        raise DataError(f"{where} holds {low:g}: a count is 0 or more. Use {name}:real.")
    if kind == "positive" and low <= 0:
        raise DataError(f"{where} holds {low:g}: not positive. Use {name}:real.")
    if kind in ("ordinal", "boolean"):
        if high - low >= 2**12:
            raise DataError(
                f"{where} goes from {low:g} to {high:g}, too wide for an ordinal. Use {name}:count or real."
            )
        return Grid(int(low), int(high))
    if kind == "count":
        return Count(int(high))
    if asked is not None and asked.low is not None and asked.high is not None:
        if not asked.low < low <= high < asked.high:
            raise DataError(f"{where} goes from {low:g} to {high:g}: not between {asked.low:g} and {asked.high:g}.")
        ends = torch.tensor([asked.low, asked.high], dtype=torch.float64)
        return Number(kind, low=asked.low, high=asked.high, transform="logit", knots=ends)
    return Number(kind, low=low, high=high)


def _levels(source: str, column: Column, given: Sequence[str]) -> list[str]:
    """Return the words of a category: those given, in their order, else all that occur, sorted."""
    assert column.words is not None
    found = set(column.words.tolist()) - {""}
    where = f"{source}: column {show(column.name)}"
    if given:
        if unknown := sorted(word for word in found if word not in given):
            raise DataError(f"{where} holds {show(unknown[0])}, which is none of its levels {', '.join(given)}.")
        return list(given)
    if len(found) > MOST_LEVELS:
        raise DataError(
            f"{where} has {len(found):,} different words; at most {MOST_LEVELS:,} can be a category. "
            f"Leave it out with {drop(column.name)}."
        )
    return sorted(found, key=_order)


def _order(word: str) -> tuple[bool, float, str]:
    """Numbers come first, by their value; then words, whatever their case."""
    try:
        return False, float(word), word
    except ValueError:
        return True, 0.0, word


def codes(levels: Sequence[str], words: NDArray[Any]) -> NDArray[np.float64]:
    """Return the place of each word in the list, (N,), NaN for the empty word, -1 for one that is not there."""
    places = {word: float(i) for i, word in enumerate(levels)}
    places[""] = np.nan
    return np.array([places.get(word, -1.0) for word in words.tolist()], dtype=np.float64)


def known_codes(source: str, name: str, field: Levels, words: NDArray[Any], unseen: str) -> NDArray[np.float64]:
    """Return the places of words of new data. One that the model does not know is refused, or missing if `unseen` says.

    Raises DataError naming the first.
    """
    found = codes(field.levels, words)
    bad = np.flatnonzero(found < 0)
    if len(bad) and unseen == "refuse":
        more = f" ({count(len(bad), 'such row')})" if len(bad) > 1 else ""
        raise DataError(
            f"{source}: column {show(name)} row {bad[0] + 1} is {show(str(words[bad[0]]))}, a category that the model "
            f"has not seen{more}. Correct it, or train with --unseen missing."
        )
    return np.where(found < 0, np.nan, found)
