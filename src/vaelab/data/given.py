"""A row in which some columns are given, from "income=>50K,age=40" or a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError, suggest
from .fields import Levels
from .schema import Schema
from .words import show, some


def as_pairs(given: str | Mapping[str, Any]) -> dict[str, str]:
    """Return name -> value as text of "a=1,b=2" or of a mapping."""
    if not isinstance(given, str):
        return {str(name): str(value) for name, value in given.items()}
    pairs = [item.partition("=") for item in given.split(",") if item]
    return {name.strip(): value.strip() for name, _, value in pairs}


def row_of(schema: Schema, given: str | Mapping[str, Any]) -> Tensor:
    """Return the row (*shape) in the user's units, NaN where nothing is given. Raises UsageError for what cannot be."""
    names = list(schema.columns or ())
    row = torch.full(schema.shape, torch.nan, dtype=torch.float64)
    pairs = as_pairs(given)
    if not pairs:
        raise UsageError("--given says nothing: write NAME=VALUE, such as age=40.")
    for name, text in pairs.items():
        if name not in names:
            raise UsageError(f"--given: no column {show(name)}.{suggest(name, names)}")
        i = names.index(name)
        row[i] = _value(schema, i, name, text)
    return row


def _value(schema: Schema, i: int, name: str, text: str) -> float:
    field = schema.kinds[i] if schema.kinds else None
    if isinstance(field, Levels):
        if text not in field.levels:
            raise UsageError(f"--given {name}={text}: not one of {some(field.levels, 10)}.")
        return float(field.levels.index(text))
    if field is not None and field.kind == "date":
        from datetime import UTC, datetime

        try:
            return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise UsageError(f"--given {name}={text}: no date such as 2024-05-01.") from None
    try:
        value = {"true": 1.0, "false": 0.0}.get(text.lower())
        value = float(text) if value is None else value
    except ValueError:
        raise UsageError(f"--given {name}={text}: expected a number.") from None
    low, high = schema.grid
    off_grid = schema.values in ("binary", "integer") and not (low <= value <= high and value == round(value))
    wrong = off_grid if field is None else bool(field.wrong(torch.tensor([value]))[0])
    if wrong or value != value:
        wanted = f"from {low} to {high}" if field is None else field.wrong(torch.tensor([value]))[1]
        raise UsageError(f"--given {name}={text}: expected {wanted}.")
    return value
