"""How the learning rate moves with the progress of a run, whether that is counted in steps or in minutes."""

from __future__ import annotations

import math


def learning_rate(peak: float, progress: float, step: int, *, warmup: int, decay: str) -> float:
    """Return the rate at `progress` in [0, 1]: linear over the first `warmup` steps, then "cosine" to 0 or "none"."""
    rate = peak * min(1.0, (step + 1) / warmup) if warmup else peak
    return rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))) if decay == "cosine" else rate
