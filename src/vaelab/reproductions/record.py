"""The record beside a page: what every curve has come to, so that a page grows from one machine to the next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..durable import write_durably
from ..errors import DataError
from .base import Item, Results, Seeds
from .unit import Found, folder_of, read

FILE = "curves.json"
Record = dict[str, Found]  # by the curve's folder in the work folder


def read_record(folder: Path) -> Record:
    """Return the record in the folder of a page's pictures; nothing if there is none. DataError if it is damaged."""
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        return {key: Found(**value) for key, value in json.loads(path.read_text()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a record of curves ({error}). Restore it, or remove it to start anew.") from error


def key_of(name: str, seed: int, item: Item | None = None) -> str:
    """Return the folder of a seed, or of one of its curves, in the work folder."""
    folder = Path(name if seed == 0 else f"{name}-seed-{seed}")
    return str(folder if item is None else folder_of(item.unit, folder, item.samples))


def gathered(name: str, plan: Sequence[Item], work: Path, record: Record) -> Seeds:
    """Return what is known of every seed, in `work` or in the record, whichever has come further.

    The record is brought to the same.
    """
    first = f"{name}-seed-"
    places = [path.name for path in work.glob(f"{first}*")] + [key.partition("/")[0] for key in record]
    numbers = {0, *(int(place.removeprefix(first)) for place in places if place.startswith(first))}
    seeds: Seeds = {}
    for seed in sorted(numbers):
        found: Results = {}
        for item in plan:
            key = key_of(name, seed, item)
            here, there = read(item.unit, work / key_of(name, seed), item.samples), record.get(key)
            best = max((one for one in (here, there) if one is not None), key=come_to, default=None)
            if best is not None:
                found[item.unit.name] = record[key] = best
        seeds[seed] = found
    return seeds


def come_to(found: Found) -> tuple[bool, int, int]:
    """Return how far a curve has come, to be compared."""
    return bool(found.finish), found.samples, found.looks[-1]["samples"] if found.looks else 0


def write_record(folder: Path, record: Record) -> None:
    """Write the record, curves in order of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(key)}: {json.dumps(asdict(record[key]))}" for key in sorted(record)]
    write_durably(folder / FILE, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
