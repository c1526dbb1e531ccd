"""A run's folder: model.safetensors, metrics.jsonl, config.toml; its name, its writing, and finding its rows again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .data import Dataset, Schema
from .durable import write_durably
from .errors import DataError, EnvironmentFault, UsageError
from .options import TrainOptions, read_toml, write_toml
from .splits import read_splits

if TYPE_CHECKING:
    from .run import Run

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
    try:
        with tempfile.TemporaryDirectory(dir=parent):  # the one sure way to know
            return folder
    except OSError as error:
        reason = error.strerror or error
        raise EnvironmentFault(f"{parent} cannot be written to ({reason}). Choose another --out.") from None


def write_run(run: Run, folder: Path, source: str, options: TrainOptions) -> None:
    """Write the files of a run; the model last, so that a folder with a model is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).unlink(missing_ok=True)
    # the rows are found again from wherever a later command is run
    place = str(Path(source).absolute()) if Path(source.partition(".npz:")[0]).exists() or "/" in source else source
    records = [] if run.history is None else run.history.records
    write_durably(folder / "metrics.jsonl", "".join(json.dumps(r) + "\n" for r in records).encode())
    write_durably(folder / "config.toml", write_toml(place, options))
    run.save(folder / MODEL_FILE)
    run.folder = folder


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
