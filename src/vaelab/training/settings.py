"""How long and how fast a run trains."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import UsageError
from .rows import steps_per_epoch
from .schedules import DECAYS

STEPS = 20_000  # of a run whose length is not given
OPTIMISERS = ("adam", "adagrad")
PRECISIONS = ("full", "bfloat16")


def one_of(names: tuple[str, ...]) -> str:
    """Return "a, b or c"."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


@dataclass(frozen=True)
class Settings:
    """How long and how fast: `epochs` or `minutes` (else about 20,000 steps), batch size, the rate and its schedule.

    `optimiser` is "adam", whose denominator gets `epsilon`, or "adagrad". A `weight_decay` of 1 / rows is the prior
    N(0, I) on the weights. With `average` a run is judged by, and ends with, the mean of its weights. `compile` makes
    one graph of a step: "on", "off", or "auto", where the run is long enough to earn it back. With a `precision` of
    "bfloat16" networks multiply in 16 bits while they train, and nothing else does. Training stops early after
    `patience` reports without a better validation bound; there are at most about 200.
    """

    epochs: int | None = None
    minutes: float | None = None
    batch_size: int = 100
    lr: float = 3e-3
    lr_warmup: int = 100
    decay: str = "cosine"
    optimiser: str = "adam"
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip: float | None = None
    average: bool = True
    patience: int = 20
    seed: int = 0
    compile: str = "off"
    precision: str = "full"

    def __post_init__(self) -> None:
        rules = {
            "epochs": (self.epochs is None or self.epochs >= 1, "at least 1"),
            "minutes": (self.minutes is None or 0 < self.minutes < math.inf, "above 0"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "lr": (0 < self.lr < math.inf, "above 0"),
            "lr_warmup": (self.lr_warmup >= 0, "at least 0"),
            "decay": (self.decay in DECAYS, one_of(DECAYS)),
            "optimiser": (self.optimiser in OPTIMISERS, one_of(OPTIMISERS)),
            "epsilon": (0 < self.epsilon < math.inf, "above 0"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "at least 0"),
            "clip": (self.clip is None or self.clip > 0, "above 0"),
            "patience": (self.patience >= 1, "at least 1"),
            "compile": (self.compile in ("auto", "on", "off"), "auto, on or off"),
            "precision": (self.precision in PRECISIONS, one_of(PRECISIONS)),
            "seed": (0 <= self.seed < 2**63, "from 0 to 2^63 - 1"),
        }
        for name, (good, expected) in rules.items():
            if not good:
                raise UsageError(f"{name} is {getattr(self, name)!r}: expected {expected}.")
        if self.epochs is not None and self.minutes is not None:
            raise UsageError("give epochs or minutes, not both.")

    def planned_epochs(self, rows: int) -> int | None:
        """Return the number of epochs; None if the clock decides."""
        if self.minutes is not None:
            return None
        return self.epochs or min(3000, max(20, round(STEPS / steps_per_epoch(rows, self.batch_size))))
