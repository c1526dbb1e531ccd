"""What a live experiment is: one or two controls, each a list of values, and an answer within two seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import UsageError
from ..base import Trial

Value = float | str


@dataclass(frozen=True)
class Control:
    """What may be chosen: `values` in their order, `start` is what stands there at first."""

    name: str
    label: str
    values: tuple[Value, ...]
    start: Value


@dataclass
class Answer:
    """What is shown: one line, figures by name, charts, and pictures of 8x8 pixels."""

    text: str
    figures: dict[str, float] = field(default_factory=dict)
    charts: list[dict[str, Any]] = field(default_factory=list)

    def chart(self, title: str, x: str, y: str, series: Mapping[str, tuple[Any, Any]], style: str = "line") -> Answer:
        """Add a chart: name -> (x, y); `style` is line, dots or bars."""
        made = [{"name": name, "x": numbers(at), "y": numbers(values)} for name, (at, values) in series.items()]
        self.charts.append({"kind": style, "title": title, "x": x, "y": y, "series": made})
        return self

    def pictures(self, title: str, rows: Mapping[str, Tensor]) -> Answer:
        """Add rows of digits, name -> (n, 64) in [0, 1]."""
        made = [
            {"name": name, "pixels": (255 * images.clamp(0, 1)).round().int().tolist()} for name, images in rows.items()
        ]
        self.charts.append({"kind": "pictures", "title": title, "rows": made})
        return self

    def json(self) -> dict[str, Any]:
        """Return the answer as the page reads it; what is not finite is null."""
        figures = {name: value if math.isfinite(value) else None for name, value in self.figures.items()}
        return {"text": self.text, "figures": figures, "charts": self.charts}


@dataclass(frozen=True)
class Live:
    """The live experiment of a card: the formulas of the full one at a small size."""

    card: int
    what: str
    controls: tuple[Control, ...]
    work: Callable[..., Answer]

    def __call__(self, **chosen: Value) -> Answer:
        """Answer for these values (others as they start); equal values give equal answers. UsageError for others."""
        values = {control.name: control.start for control in self.controls} | chosen
        for control in self.controls:
            if values[control.name] not in control.values:
                raise UsageError(f"card {self.card}: {control.label} is one of {control.values}.")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.work(Trial(self.card, 0, control=False, full=False), **values)


LIVE: dict[int, Live] = {}


def live(card: int, what: str, *controls: Control) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Register the live experiment of a card."""

    def register(work: Callable[..., Answer]) -> Callable[..., Answer]:
        LIVE[card] = Live(card, what, controls, work)
        return work

    return register


def numbers(values: Any) -> list[float | None]:
    """Return numbers as JSON has them."""
    listed: Sequence[float] = np.asarray(values, dtype=float).ravel().tolist()
    return [float(f"{v:.5g}") if math.isfinite(v) else None for v in listed]
