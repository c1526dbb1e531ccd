"""The fields of a request: their names, types and bounds, refused in one line that names the field."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .guard import Refused

FARTHEST = 100.0  # of a place z: no prior reaches so far, and a network that is asked beyond may overflow
Field = Callable[[Any], Any]


def read(body: bytes, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the fields of a JSON object, each as its reader gives it; none may be missing, unknown or repeated."""
    try:
        given = json.loads(body, parse_constant=_refuse_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON object with finite numbers and every name once") from None
    if not isinstance(given, dict):
        raise Refused(400, "the body is no JSON object")
    if unknown := sorted(set(given) - set(fields)):
        raise Refused(422, f"unknown field {unknown[0][:40]!r}: expected {', '.join(fields)}")
    if missing := [name for name in fields if name not in given]:
        raise Refused(422, f"field {missing[0]} is missing")
    out = {}
    for name, reader in fields.items():
        try:
            out[name] = reader(given[name])
        except ValueError as error:
            raise Refused(422, f"{name} {error}") from None
    return out


def place(dimensions: int) -> Field:
    """Return a reader of a place z: a list of that many numbers, each at most 100 from 0."""

    def reader(value: Any) -> list[float]:
        if not isinstance(value, list) or len(value) != dimensions:
            raise ValueError(f"is a list of {dimensions} numbers")
        if not all(_number(v) and abs(v) <= FARTHEST for v in value):
            raise ValueError(f"holds numbers from -{FARTHEST:g} to {FARTHEST:g}")
        return [float(v) for v in value]

    return reader


def places(dimensions: int, most: int) -> Field:
    """Return a reader of one to `most` places z."""
    one = place(dimensions)

    def reader(value: Any) -> list[list[float]]:
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise ValueError(f"is a list of 1 to {most} places")
        return [one(item) for item in value]

    return reader


def whole(low: int, high: int) -> Field:
    """Return a reader of a whole number between two bounds, both included."""

    def reader(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"is a whole number from {low} to {high}")
        return value

    return reader


def wholes(most: int, high: int) -> Field:
    """Return a reader of at most so many whole numbers from 0 to `high`."""
    one = whole(0, high)

    def reader(value: Any) -> list[int]:
        if not isinstance(value, list) or len(value) > most:
            raise ValueError(f"is a list of at most {most} whole numbers")
        return [one(item) for item in value]

    return reader


def one_of(*names: str) -> Field:
    """Return a reader of one of these words."""

    def reader(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"is {' or '.join(names)}")
        return value

    return reader


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a name is repeated")
    return out
