"""What a conditional model is given beside x: classes as unit vectors, numbers standardised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError, UsageError
from .dataset import Dataset
from .reading import LABEL, Reading
from .words import show

MOST_CLASSES = 1000

# (name, classes) or (name, (mean, deviation)): how each condition becomes numbers
Conditions = tuple[tuple[str, tuple[Any, ...]], ...]


def is_class(values: tuple[Any, ...]) -> bool:
    """Return whether a condition is a class: its values are then the names of the classes."""
    return all(isinstance(value, str) for value in values)


def width(conditions: Conditions) -> int:
    """Return C, how many numbers the conditions are: one for each class, one for a number."""
    return sum(len(values) if is_class(values) else 1 for _, values in conditions)


def describe(conditions: Conditions) -> str:
    """Return the names of the conditions, with their classes: "kind (a, b, c), age"."""
    return ", ".join(
        name + (f" ({', '.join(shorter(values))})" if is_class(values) else "") for name, values in conditions
    )


def shorter(names: Sequence[str], most: int = 10) -> list[str]:
    """Return the names, the middle ones left out where there are many."""
    return list(names) if len(names) <= most else [*names[: most - 1], "...", names[-1]]


def learn(given: Mapping[str, NDArray[Any]], source: str) -> Conditions:
    """Return how these columns become numbers: labels and words are classes, numbers have a mean and a deviation.

    Raises DataError for a missing value, a constant, or too many classes.
    """
    out: list[tuple[str, tuple[Any, ...]]] = []
    for name, column in given.items():
        words = column.astype(str)
        missing = np.flatnonzero((words == "") | (words == "nan"))
        if len(missing):
            raise DataError(f"{source}: the condition {show(name)} is missing in row {missing[0] + 1}. Fill it in.")
        numbers = None if name == LABEL else _numbers(column)
        if len(np.unique(words)) < 2:
            raise DataError(f"{source}: the condition {show(name)} is the same in every row, and so says nothing.")
        values = classes(column) if numbers is None else (float(numbers.mean()), float(numbers.std()))
        if len(values) > MOST_CLASSES:
            most = f"at most {MOST_CLASSES:,} can be classes"
            raise DataError(f"{source}: the condition {show(name)} has {len(values):,} different words; {most}.")
        out.append((name, values))
    return tuple(out)


def classes(column: NDArray[Any]) -> tuple[str, ...]:
    """Return the different words of a column, in the order of numbers where all are numbers."""
    different = [str(word) for word in np.unique(column.astype(str))]
    return tuple(sorted(different, key=float) if _numbers(np.array(different)) is not None else different)


def _numbers(column: NDArray[Any]) -> NDArray[np.float64] | None:
    try:
        numbers = column.astype(np.float64)
    except ValueError:
        return None
    return numbers if bool(np.isfinite(numbers).all()) else None


def unit_vectors(column: NDArray[Any], names: Sequence[str]) -> Tensor:
    """Return 1 at the class of each row, (N, classes) float64; a row whose class is none of these is all 0."""
    return torch.from_numpy((column.astype(str)[:, None] == np.array(names)).astype(np.float64))


def encode(conditions: Conditions, given: Mapping[str, NDArray[Any]], source: str) -> Tensor:
    """Return the conditions as numbers, (N, C) float64. Raises DataError for one that is missing or unknown."""
    parts = []
    for name, values in conditions:
        if name not in given:
            what = "has no labels" if name == LABEL else f"has no column {show(name)}"
            raise DataError(f"{source} {what}, which this model must be given: {describe(conditions)}.")
        if is_class(values):
            unit = unit_vectors(given[name], values)
            unknown = torch.nonzero(unit.sum(1) == 0)
            if len(unknown):
                row, known = int(unknown[0]), ", ".join(shorter(values))
                got = show(str(given[name][row]))
                raise DataError(f"{source}: {name} in row {row + 1} is {got}; the model knows {known}.")
            parts.append(unit)
        else:
            numbers = _numbers(given[name])
            if numbers is None:
                raise DataError(f"{source}: {name} must be a finite number in every row, as it was in training.")
            parts.append(torch.from_numpy((numbers - values[0]) / values[1])[:, None])
    return torch.cat(parts, 1)


def conditioned(data: Dataset, names: Sequence[str], source: str) -> Dataset:
    """Return the rows with their conditions, learned from them or known to their schema already.

    `names` are columns that the data set has in `given`, or "label". Raises UsageError for a name that is neither.
    """
    given = dict(data.given or {})
    if LABEL in names and data.labels is not None:
        given[LABEL] = data.labels
    schema = data.schema
    if not schema.conditions:
        for name in names:
            if name not in given and name != LABEL:
                raise UsageError(f"--condition {name}: only {LABEL} and the columns of a table can be conditions.")
            if name not in given:
                raise DataError(f"{source} has no labels to be the condition. Add --labels.")
        learned = learn({name: given[name] for name in names}, source)
        schema = schema.replace(conditions=learned, reading=Reading.of(schema.reading, condition=names).pairs())
    test = None if data.test is None else conditioned(replace(data.test, schema=schema), names, source)
    return replace(data, schema=schema, condition=encode(schema.conditions, given, source), test=test)


def read_given(conditions: Conditions, given: str | Mapping[str, Any]) -> Tensor:
    """Return the condition (C,) that "kind=3,age=35" or a mapping says. Raises UsageError for what is no condition."""
    known = [name for name, _ in conditions]
    if not known:
        raise UsageError("this model was trained without --condition, so nothing can be given to it.")
    if isinstance(given, str):
        pairs = [item.partition("=") for item in given.split(",") if item]
        given = {name.strip(): value.strip() for name, _, value in pairs}
    for name in given:
        if name not in known:
            raise UsageError(f"--given: no condition {show(name)}. The model is given {describe(conditions)}.")
    if missing := [name for name in known if name not in given]:
        raise UsageError(f"--given: {missing[0]} is missing. The model is given {describe(conditions)}.")
    try:
        return encode(conditions, {name: np.array([value]) for name, value in given.items()}, "--given")[0]
    except DataError as error:
        raise UsageError(str(error).replace(" in row 1", "")) from None


def labelled_rows(data: Dataset, number: int | None, seed: int) -> tuple[Dataset, tuple[str, ...]]:
    """Return the rows with labels as their condition, all 0 where there is none, and the names of the classes.

    With a `number`, only so many labels are used, as evenly over the classes as can be, picked by `seed`.
    """
    words = np.array([], dtype=str) if data.labels is None else data.labels.astype(str)
    known = ~np.isin(words, ("", "nan", "None"))
    names = classes(words[known])
    if number is not None and not len(names) <= number <= int(known.sum()):
        raise UsageError(f"labelled is {number}: expected {len(names)} (one of each class) to {int(known.sum()):,}.")
    order = torch.randperm(len(words), generator=torch.Generator().manual_seed(seed)).numpy()
    turn = np.zeros(len(words), dtype=np.int64)  # the how-manieth of its class a row is
    for name in names:
        mine = order[words[order] == name]
        turn[mine] = np.arange(len(mine))
    by_turn = order[np.lexsort((words[order], turn[order]))]
    used = by_turn[known[by_turn]][:number]
    condition = torch.zeros(len(words), len(names), dtype=torch.float64)
    condition[used] = unit_vectors(words[used], names)
    return replace(data, condition=condition), names
