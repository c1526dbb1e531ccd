"""A run's folder: model.safetensors, metrics.jsonl, config.toml; its name, and finding its rows again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .data import Dataset, Schema
from .durable import check_writable, write_durably
from .errors import DataError, UsageError
from .options import TrainOptions, read_toml, to_toml
from .parts import parse
from .splits import read_splits
from .training import History
from .training.checkpoint import has_checkpoint
from .training.state import judged

MODEL_FILE, CONFIG_FILE = "model.safetensors", "config.toml"
HISTORY_FILES = ("metrics.jsonl", "bad_steps.jsonl")
FREE = ("epochs", "minutes")  # what --resume may change


def is_run(path: Path) -> bool:
    """Whether this is the folder of a run, finished or not."""
    return any((path / name).exists() for name in (MODEL_FILE, CONFIG_FILE))


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


def folder_to_resume(name: str, given: TrainOptions) -> tuple[Path, str | None, bool]:
    """Return the folder of a run to go on with, its source, and whether it is finished.

    Raises UsageError if it is no run's folder, or for options other than the run's.
    """
    folder = Path(name)
    if not (folder / CONFIG_FILE).exists():
        raise UsageError(f"{name} holds no run to resume: it has no {CONFIG_FILE}. Name a run's folder.")
    source, options = read_toml(folder / CONFIG_FILE)
    refuse_other_options(TrainOptions.checked(**options), given)
    return folder, source, (folder / MODEL_FILE).exists() and not has_checkpoint(folder)


def refuse_other_options(recorded: TrainOptions, given: TrainOptions) -> None:
    """Raise UsageError where options are not those of the run that goes on; its length may be another."""
    differ = [
        f"--{name.replace('_', '-')} {getattr(given, name)} (the run: {getattr(recorded, name)})"
        for name in TrainOptions.names()
        if name not in FREE and getattr(given, name) != getattr(recorded, name)
    ]
    if differ:
        raise UsageError(
            f"--resume goes on with the options of the run, but these differ: {', '.join(differ)}. "
            "Leave them out, or train anew with --out."
        )


def write_config(folder: Path, source: str, options: TrainOptions) -> None:
    """Write the file that repeats a run."""
    write_durably(folder / CONFIG_FILE, to_toml(anywhere(source), from_anywhere(options)))


def from_anywhere(options: TrainOptions) -> TrainOptions:
    """Return options that mean the same wherever a later command is run."""
    held_out, file, cache = options.validation, options.columns_file, options.cache
    return replace(
        options,
        validation=anywhere(held_out) if isinstance(held_out, str) else held_out,
        columns_file=None if file is None else anywhere(file),
        start_from=None if options.start_from is None else anywhere(options.start_from),
        cache=cache if cache in ("auto", "off") else str(Path(cache).absolute()),
    )


def anywhere(name: str) -> str:
    """Return a path as an absolute one, so that it is found wherever a later command is run; other names stay."""
    return str(Path(name).absolute()) if Path(name.partition(".npz:")[0]).exists() else name


def read_history(folder: Path, meta: dict[str, Any]) -> History | None:
    """Return what happened in the training of a run; None where its metrics.jsonl is gone or damaged."""
    try:
        lines = (folder / HISTORY_FILES[0]).read_text(encoding="utf-8").splitlines()
        records = [judged(dict(json.loads(line))) for line in lines]
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
        config = folder / CONFIG_FILE
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


def setup_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a diagnosis reads of a training: its start, its rate and decay, the weight of the KL, its warm-up."""
    known = {key: meta.get("settings", {}).get(key) for key in ("lr", "lr_warmup", "decay")}
    known["started"] = meta.get("started")
    objective = meta.get("parts", {}).get("objective")
    if objective is not None:
        spec = parse("objective", objective)
        known |= {key: spec.arguments.get(key) for key in ("beta", "warmup")}
    return {key: value for key, value in known.items() if value is not None}


def write_history(folder: Path, history: History) -> None:
    """Write the records of a run, what is not finite as null, and its bad steps if there were some."""
    finite = [
        {k: v if v is None or math.isfinite(v) else None for k, v in record.items()} for record in history.records
    ]
    write_durably(folder / HISTORY_FILES[0], _json_lines(finite))
    if history.bad_steps:
        write_durably(folder / HISTORY_FILES[1], _json_lines(history.bad_steps))


def _json_lines(records: list[dict[str, Any]]) -> bytes:
    """Return one JSON document a line."""
    return "".join(json.dumps(record) + "\n" for record in records).encode()
