"""What a reproduction is: curves in an order, and a page that says what has been run and what has not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError, suggest
from .unit import Found, Unit


@dataclass(frozen=True)
class Item:
    """A curve, the part of the paper that it is for, and how many samples it is to see."""

    part: str
    unit: Unit
    samples: int


@dataclass(frozen=True)
class Check:
    """What the paper shows, and whether it is seen here; None where the curves are missing."""

    text: str
    holds: bool | None
    figures: Mapping[str, Any]

    def json(self) -> dict[str, Any]:
        """Return {"text", "holds", "figures"}."""
        return {"text": self.text, "holds": self.holds, "figures": dict(self.figures)}


Results = dict[str, Found]  # by name of the curve
Seeds = dict[int, Results]  # seed 0 is always there
Pictures = dict[str, bytes | None]  # by name of the file; None: it is there, and cannot be drawn from what is here


@dataclass(frozen=True)
class Reproduction:
    """A paper's figures: `plan(scale)` gives the curves in the order in which they are run.

    scale multiplies the samples of the default, `full` is that of the paper's length. `page` returns the text under
    the heading, where %NAME% stands for the place of a picture, the pictures and the checks.
    """

    name: str
    title: str
    full: float
    plan: Callable[[float], list[Item]]
    page: Callable[[list[Item], Seeds, Path], tuple[str, Pictures, list[Check]]]


REPRODUCTIONS: dict[str, Reproduction] = {}


def register(one: Reproduction) -> Reproduction:
    """Make a reproduction known by its name."""
    REPRODUCTIONS[one.name] = one
    return one


def find(name: str) -> Reproduction:
    """Return the reproduction of this name; UsageError with the nearest one if there is none."""
    if name not in REPRODUCTIONS:
        raise UsageError(
            f"no reproduction {name!r}: there are {', '.join(REPRODUCTIONS)}.{suggest(name, tuple(REPRODUCTIONS))}"
        )
    return REPRODUCTIONS[name]


def chosen(plan: Sequence[Item], parts: Sequence[str]) -> list[Item]:
    """Return the items of these parts (all of them, if none is named); UsageError for an unknown one."""
    known = list(dict.fromkeys(item.part for item in plan))
    for part in parts:
        if part not in known:
            raise UsageError(f"no part {part!r}: there are {', '.join(known)}.{suggest(part, known)}")
    return [item for item in plan if not parts or item.part in parts]
