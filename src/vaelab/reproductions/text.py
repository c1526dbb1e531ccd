"""Pieces of the pages: tables of curves, times, versions."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Item, Results


def rows_of(items: Sequence[Item], results: Results) -> list[str]:
    """Return a table: each curve, samples seen, rate, last values, processor time."""
    lines = ["| curve | samples | rate | training rows | test rows | minutes |", "|---|---|---|---|---|---|"]
    for item in items:
        found = results.get(item.unit.name)
        if found is None or not found.looks:
            continue
        train, test = (nats(found.last(name)) for name in ("train", "test"))
        seen = found.looks[-1]["samples"]
        rate = "" if found.rate is None else f"{found.rate:g}"
        lines.append(f"| {found.name} | {seen:,} | {rate} | {train} | {test} | {found.seconds / 60:.1f} |")
    return lines


def nats(value: float | None) -> str:
    """Return a number of nats to two places."""
    return "" if value is None else f"{value:.2f}"


def seconds_of(results: Results) -> str:
    """Return the processor time of all curves."""
    minutes = sum(found.seconds for found in results.values()) / 60
    return f"{minutes:.1f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
