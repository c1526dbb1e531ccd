"""How the learning rate moves with the progress of a run, whether that is counted in steps or in minutes."""

from __future__ import annotations

import math
from itertools import pairwise

DECAYS = ("cosine", "staged", "none")
STAGES = 8  # of "staged": stage i is 3^i long, at 10^(-i/7) of the peak (Burda et al. 2016, section 5)


def learning_rate(peak: float, progress: float, step: int, *, warmup: int, decay: str) -> float:
    """Return the rate at `progress` in [0, 1]: linear over the first `warmup` steps, then by `decay`.

    "cosine" goes to 0; "staged" falls tenfold in eight stages, each three times as long as the one before; "none".
    """
    rate = peak * min(1.0, (step + 1) / warmup) if warmup else peak
    if decay == "staged":
        return rate * 10 ** (-stage(progress) / (STAGES - 1))
    return rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))) if decay == "cosine" else rate


def stage(progress: float) -> int:
    """Return the stage at `progress`, 0 to 7: stages before i take (3^i - 1) / (3^8 - 1) of a run."""
    return min(STAGES - 1, int(math.log(1 + progress * (3**STAGES - 1), 3) + 1e-12))


def spent(progress: float, decay: str) -> float:
    """Return the integral of the rate from 0 to `progress`, in units of its peak."""
    if decay == "staged":
        ends = [(3**i - 1) / (3**STAGES - 1) for i in range(STAGES + 1)]
        lasted = [min(max(progress, a), b) - a for a, b in pairwise(ends)]
        return sum(t * 10 ** (-i / (STAGES - 1)) for i, t in enumerate(lasted))
    return 0.5 * (progress + math.sin(math.pi * progress) / math.pi) if decay == "cosine" else progress
