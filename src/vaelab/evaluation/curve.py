"""What the course of training says: is it still rising, was what had been gained lost again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..training import History
from ..training.schedules import spent

FEWEST = 12  # reports: the last quarter is then three of them, the fewest whose median is not one lucky draw


def still_rising(history: History, setup: Mapping[str, Any]) -> float | None:
    """Return the share of the whole rise that came in the last quarter of the run; None if that is unclear.

    Of what was maximised on the training rows (after warm-up, which moves it), or of the validation bound, whichever
    came nearer to rest. Counted by the learning rate that was spent, since a rate that decays to 0 flattens every
    curve: 1/4 is a straight line, as far from its plateau as at the start; a curve at rest gives about 0.
    """
    known = [record for record in history.records if "progress" in record]
    if not known or known[-1]["progress"] < 0.99:  # stopped early or interrupted: there is no last quarter
        return None
    decay, warm = setup.get("decay", "cosine"), setup.get("warmup", 0)
    curves = [[(spent(r["progress"], decay), _finite(r.get("loss"), -1)) for r in known if r.get("step", 0) >= warm]]
    if all("bound" in record for record in known):
        curves.append([(spent(r["progress"], decay), _finite(r["bound"], 1)) for r in known])
    shares = [_late_share(points) for points in curves if len(points) >= FEWEST]
    return min((share for share in shares if share is not None), default=None)


def _late_share(points: list[tuple[float, float]]) -> float | None:
    when, curve = zip(*points)
    share = [(t - when[0]) / (when[-1] - when[0]) for t in when]
    start = _median([v for t, v in zip(share, curve) if 0.7 <= t <= 0.8])
    end = _median([v for t, v in zip(share, curve) if t >= 0.95])
    if start is None or end is None or not math.isfinite(curve[0]):
        return None
    return (end - start) / (end - curve[0]) if end > curve[0] else 0.0


def setback(history: History, setup: Mapping[str, Any]) -> float | None:
    """Return the largest rise of the training loss above its lowest value before, as a share of its whole fall.

    Above 1 a whole training's worth was lost on the way; of a fall below one nat, as a number of nats. After warm-up,
    since a rising weight of the KL raises the loss by itself.
    """
    after = [record for record in history.records if record.get("step", 0) >= setup.get("warmup", 0)]
    losses = [-_finite(record.get("loss"), -1) for record in after]
    if len(losses) < 2 or not math.isfinite(losses[0]):
        return None
    lowest, worst = losses[0], 0.0
    for loss in losses:
        worst = max(worst, loss - lowest)
        lowest = min(lowest, loss)
    return worst / max(1.0, losses[0] - lowest)


def fallen(history: History) -> tuple[float, int, int] | None:
    """Return how far below its best the validation bound ended, in nats, and the epochs of best and last value."""
    if history.best is None or "bound" not in history.best or "bound" not in history.records[-1]:
        return None
    last = _finite(history.records[-1]["bound"], 1)
    return history.best["bound"] - last, history.best["epoch"], history.records[-1]["epoch"]


def travelled(history: History, setup: Mapping[str, Any]) -> float | None:
    """Return the sum of the learning rates of all steps: Adam moves no weight by much more; None if not known."""
    last = history.records[-1]
    if "lr" not in setup or not last.get("step") or not last.get("progress"):
        return None
    steps, warmup = last["step"], min(setup.get("lr_warmup", 0), last["step"])
    mean = spent(last["progress"], setup.get("decay", "cosine")) / last["progress"]
    return setup["lr"] * mean * (steps - warmup / 2)


def _finite(value: float | None, sign: int) -> float:
    """Return the value with this sign; what is not finite is the worst there is."""
    return sign * value if value is not None and math.isfinite(value) else -math.inf


def _median(values: list[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None
