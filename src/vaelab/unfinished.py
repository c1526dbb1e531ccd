"""A run that is in its first training, or was killed in it: its best weights so far, from its checkpoint."""

from __future__ import annotations

from pathlib import Path

from .errors import DataError, ModelFileError
from .folder import CONFIG_FILE
from .options import read_toml
from .plan import plan_run
from .run import Run
from .training.checkpoint import load_checkpoint
from .training.state import State

NOTHING = "no model and no checkpoint yet. The first one comes after ten seconds of training: look again then."


def unfinished(folder: Path) -> Run:
    """Return the run as its checkpoint holds it: with the weights of the best validation bound, else the last ones.

    The model is built anew from the options of the run and its rows. Raises ModelFileError where no checkpoint is
    whole, DataError where the rows are no longer those of the run.
    """
    tree, notes = load_checkpoint(folder)
    if tree is None:
        raise ModelFileError(f"{folder}: {' '.join(notes) or NOTHING}")
    source, options = read_toml(folder / CONFIG_FILE)
    plan = plan_run(source, **options)
    if tree["facts"]["rows"] != plan.splits.digests:
        raise DataError(f"{source} has changed since {folder} began. Put the old rows back.")
    state = State.of(tree["state"])
    state.history.stopped = "unfinished"
    plan.model.load_state_dict(state.best or tree["now"]["model"])
    run = plan.finished(state.history)
    run.model.eval()
    run.folder = folder
    return run
