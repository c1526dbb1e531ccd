"""A run's folder: model.safetensors, metrics.jsonl, config.toml; its name, and finding its rows again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .data import Dataset, Schema
from .durable import check_writable
from .errors import DataError, UsageError
from .options import TrainOptions, read_toml
from .splits import read_splits
from .training import History

MODEL_FILE = "model.safetensors"


def claim_folder(out: str | None, source: str, *, force: bool = False) -> Path:
    """Return the folder that a run will be written to: `out`, or the first free runs/NAME-N.

    Raises UsageError if it exists (without `force`), EnvironmentFault if it cannot be made: before any training.
    """
    if out is not None:
        folder = Path(out)
        if folder.exists() and not (force and folder.is_dir()):
            raise UsageError(f"{out} exists. Use --force to replace it, or another --out.")
    else:
        name = Path(source).name.split(".")[0].split(":")[0] or "run"
        folder = next(f for n in range(1, 1_000_000) if not (f := Path("runs") / f"{name}-{n}").exists())
    parent = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    check_writable(parent)
    return folder


def read_history(folder: Path, meta: dict[str, Any]) -> History | None:
    """Return what happened in the training of a run; None where its metrics.jsonl is gone or damaged."""
    try:
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        records = [dict(json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError):
        return None
    history = History(records, skipped=meta.get("skipped_steps", 0), first_bad=meta.get("first_bad"))
    history.stopped = meta.get("stopped", "unknown")
    history.best = next((r for r in records if r.get("step") == meta.get("best", {}).get("step")), None)
    history.seconds = records[-1].get("seconds", 0.0) if records else 0.0
    return history


def rows_of(folder: Path, schema: Schema, meta: dict[str, Any]) -> Callable[[], dict[str, Dataset]]:
    """Return how to read the rows that a run was trained on, split as they were then."""

    def reopen() -> dict[str, Dataset]:
        config = folder / "config.toml"
        if not config.exists():
            raise UsageError(f"{folder} has no config.toml, so its rows are not known. Give a SOURCE.")
        source, options = read_toml(config)
        splits = read_splits(source, TrainOptions.checked(**options), real=schema.values == "real", schema=schema)
        if splits.train.digest != meta.get("data", {}).get("digest"):
            raise DataError(
                f"{source} has changed since {folder} was trained on it. Give a SOURCE to judge other rows."
            )
        return splits.by_name()

    return reopen
