"""Opening a run: its model file, or its best weights so far where it is in its first training or was killed in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import DataError, ModelFileError
from .folder import CONFIG_FILE, MODEL_FILE
from .options import read_toml
from .run import Run, load_model
from .training.checkpoint import load_checkpoint
from .training.state import State

NOTHING = "no model and no checkpoint yet. The first one comes after ten seconds of training: look again then."


def load(path: str | Path, parts: Mapping[str, Any] | None = None) -> Run:
    """Return the run in a folder or model file. Opening it runs no code of the file's.

    `parts` hands back modules of your own, by class name or by path ("model.likelihood.network"). A run folder also
    knows its data again, if they are still where they were; of one that is still in training, or was killed in it, the
    best weights so far are taken, from its checkpoint.

    >>> path = run.save("again.safetensors")
    >>> torch.equal(vaelab.load(path).generate(3), run.generate(3))
    True
    """
    path = Path(path)
    if (path / CONFIG_FILE).exists() and not (path / MODEL_FILE).exists():
        return unfinished(path)
    return load_model(path, parts or {})


def unfinished(folder: Path) -> Run:
    """Return the run as its checkpoint holds it: with the weights of the best validation bound, else the last ones.

    The model is built anew from the options of the run and its rows. Raises ModelFileError where no checkpoint is
    whole, DataError where the rows are no longer those of the run.
    """
    tree, notes = load_checkpoint(folder)
    if tree is None:
        raise ModelFileError(f"{folder}: {' '.join(notes) or NOTHING}")
    from .planning import plan_run  # most runs are opened without it

    source, options = read_toml(folder / CONFIG_FILE)
    plan = plan_run(source, **options)
    if tree["facts"]["rows"] != plan.splits.digests:
        raise DataError(f"{source} has changed since {folder} began. Put the old rows back.")
    state = State.of(tree["state"])
    state.history.stopped = "unfinished"
    plan.model.load_state_dict(state.best or tree["now"]["average"].get("weights") or tree["now"]["model"])
    run = plan.finished(state.history)
    run.model.eval()
    run.folder = folder
    return run
