"""Running a reproduction, and writing its page now and then, and at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..durable import write_durably
from ..errors import UsageError
from ..lock import Lock
from ..signals import Signals
from .base import Check, Item, Reproduction, Results, chosen
from .record import gathered, key_of, read_record, write_record
from .unit import Found, done, run, versions

EVERY = 60.0  # seconds between two pages, at least: its pictures take a few to draw
SHARES = (0.1, 1 / 3, 1.0)  # curves that go on are first brought to these: a page early, with all of its curves
TIMES = "Times are processor time, beside other work on the machine."


@dataclass(frozen=True)
class Outcome:
    """What there is now: every curve, the checks, and where the page is."""

    name: str
    curves: Results
    checks: list[Check]
    page: Path

    @property
    def holds(self) -> bool:
        """Whether no check failed; one whose curves are missing does not."""
        return all(check.holds is not False for check in self.checks)

    def json(self) -> dict[str, Any]:
        """Return the document that `vaelab reproduce --json` prints."""
        curves = [{**vars(found), "rows": list(found.rows)} for found in self.curves.values()]
        checks = [check.json() for check in self.checks]
        return {"name": self.name, "checks": checks, "holds": self.holds, "curves": curves, "page": str(self.page)}


def reproduce(
    one: Reproduction,
    *,
    out: Path,
    work: Path,
    command: str,
    scale: float = 1.0,
    parts: Sequence[str] = (),
    names: Sequence[str] = (),
    seed: int = 0,
    told: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Run what is missing, in the plan's order, keep it in `work`, and write `out`/NAME.md as it grows.

    `parts` and `names` choose curves; the page shows all that is known of the others. What the record beside the page
    has is not run again. After a signal the curve in hand
    is kept and KeyboardInterrupt raised: the same call goes on from there. Raises UsageError for what is unknown, and
    EnvironmentFault where another process runs in `work`.
    """
    if not 0 < scale <= one.full:
        raise UsageError(f"fraction must be above 0 and at most {one.full:g}, got {scale:g}.")
    if seed < 0:
        raise UsageError(f"seed must be at least 0, got {seed}.")
    plan = one.plan(scale)
    items = [item for item in chosen(plan, parts) if not names or item.unit.name in names]
    if missing := set(names) - {item.unit.name for item in items}:
        raise UsageError(f"no curve {sorted(missing)[0]!r} in this plan: {', '.join(i.unit.name for i in plan)}.")
    record = read_record(out / one.name)
    folder = work / key_of(one.name, seed)
    folder.mkdir(parents=True, exist_ok=True)
    written = time.perf_counter()
    try:
        with Lock(folder), Signals() as signals:
            for share in SHARES:
                for item in items:
                    if share < 1 and not item.unit.goes_on:
                        continue
                    samples = max(1, round(item.samples * share))
                    before = record.get(key_of(one.name, seed, item))
                    if before is not None and done(item.unit, before, samples, last=share == 1):
                        continue
                    told(said(item, run(item.unit, folder, samples, seed, signals, last=share == 1)))
                    if time.perf_counter() - written > EVERY:
                        write(one, plan, work, out, command, seed)
                        written = time.perf_counter()
    except KeyboardInterrupt:
        write(one, plan, work, out, command, seed)
        raise
    return write(one, plan, work, out, command, seed)


def said(item: Item, found: Found) -> str:
    """Return a line on a curve: its name, samples, last look, minutes."""
    last = found.looks[-1] if found.looks else {}
    figures = "  ".join(f"{name} {value:.2f}" for name, value in last.items() if name != "samples")
    return f"{item.part}  {found.name}  {last.get('samples', 0):,} samples  {figures}  {found.seconds / 60:.1f} min"


def write(one: Reproduction, plan: list[Item], work: Path, out: Path, command: str, seed: int) -> Outcome:
    """Write the page and its pictures from what is known of every seed; return that of one."""
    record = read_record(out / one.name)
    seeds = gathered(one.name, plan, work, record)
    write_record(out / one.name, record)
    results = seeds[0]
    text, pictures, checks = one.page(plan, seeds, work / key_of(one.name, 0))
    place = out / f"{one.name}.md"
    for name, data in pictures.items():
        if data is not None:
            write_durably(out / one.name / name, data)
        text = text.replace(f"%{name}%", f"{one.name}/{name}")
    words = {True: "holds", False: "does not hold", None: "not run yet"}
    made = versions()
    lines = [
        f"# {one.title}, reproduced",
        "",
        f"Made by `{command}`, seed 0: {len(results)} of {len(plan)} curves so far; vaelab {made['vaelab']}, "
        f"torch {made['torch']}, Python {made['python']}. {TIMES}",
        "",
        *(f"- **{words[check.holds]}**: {check.text}" for check in checks),
        "",
        text,
    ]
    write_durably(place, ("\n".join(lines).rstrip() + "\n").encode())
    return Outcome(one.name, seeds.get(seed, {}), checks, place)
