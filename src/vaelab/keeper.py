"""A run that survives: its folder is locked, its state is kept there, a signal stops it so that it can go on."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from .errors import DataError, EnvironmentFault, LostProcess
from .folder import (
    CONFIG_FILE,
    HISTORY_FILES,
    MODEL_FILE,
    from_anywhere,
    refuse_other_options,
    write_config,
    write_history,
)
from .lock import Lock
from .networks.affine import ONEDNN
from .options import TrainOptions
from .signals import Signals
from .splits import Splits
from .training import ALONE, History, Ranks
from .training.checkpoint import has_checkpoint, load_checkpoint, remove_checkpoint, save_checkpoint
from .training.state import Tree

EVERY = 60.0  # seconds between checkpoints, at least
FIRST = 10.0  # seconds to the first one: from then on a run can be looked at
OFTEN = 2.0  # seconds between two writings of the records, at least
SHARE = 100  # and this many times what one costs: less than a hundredth of the time goes into them


class Keeper:
    """Keeps the state of one run in its folder, from `with` to its end.

    `data` are the rows of the run; with `resume` it goes on from what the folder holds, else it begins. `notes` is told
    what the user should know. Raises UsageError for options other than the run's, DataError for changed rows,
    EnvironmentFault for a folder in use or a full disk. Of several processes (`ranks`) the first alone touches the
    folder; all end where one was asked to, and all must hold the same rows.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        options: TrainOptions,
        data: Splits,
        *,
        resume: bool = False,
        every: float = EVERY,
        notes: Callable[[str], None] = lambda note: None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.folder, self.source, self.options, self.resume = folder, source, from_anywhere(options), resume
        self.every, self.notes, self.ranks = every, notes, ranks
        self.rows = data.digests
        self.lock, self.signals = Lock(folder), Signals()
        self.saved: int | None = None  # the step of the last checkpoint
        self.next = time.perf_counter() + min(every, FIRST)
        self.next_records = 0.0
        self.made: list[Path] = []

    def __enter__(self) -> Keeper:
        if self.ranks.first:
            self._claim()
        if any(rows != self.rows for rows in self.ranks.gathered(self.rows)):
            raise DataError(f"{self.source} does not hold the same rows for every process. Give all the same data.")
        self.signals.__enter__()
        return self

    def _claim(self) -> None:
        self.made = [p for p in (self.folder, *self.folder.absolute().parents) if not p.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentFault(f"{self.folder} cannot be made: {error.strerror or error}.") from error
        self.lock.__enter__()
        if not self.resume:
            remove_checkpoint(self.folder)  # of a run that this one replaces
        if self.resume or not (self.folder / MODEL_FILE).exists():
            write_config(self.folder, self.source, self.options)  # from now on `--resume` knows this run

    def __exit__(self, *error: object) -> None:
        lost = isinstance(error[1], LostProcess)  # to be gone on with, from the beginning if need be
        self.signals.__exit__()
        if lost and self.signals.before:
            # torchrun asks who is left to end: they do, after they have said why
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not self.ranks.first:
            return
        if self.made and not lost and not (has_checkpoint(self.folder) or (self.folder / MODEL_FILE).exists()):
            for name in (CONFIG_FILE, *HISTORY_FILES):
                (self.folder / name).unlink(missing_ok=True)
        self.lock.__exit__()
        for folder in self.made:
            try:
                folder.rmdir()
            except OSError:  # it holds something
                break

    def restore(self) -> Tree | None:
        """Return the state to go on from; None to begin."""
        if not self.resume or not self.ranks.first:
            return None
        tree, notes = load_checkpoint(self.folder)
        for note in notes:
            self.notes(note)
        if tree is None:
            return None
        facts = tree.pop("facts")
        refuse_other_options(TrainOptions(**facts["options"]), self.options)
        if facts["rows"] != self.rows:
            raise DataError(
                f"{self.source} has changed since {self.folder} began. Put the old rows back, or train anew."
            )
        torch.set_num_threads(facts["threads"])  # equal bits need an equal count
        for name, now in self._machine().items():
            if (begun := facts.get(name, now)) != now:
                self.notes(f"begun with {name} {begun}, now {now}: the result will not be bit for bit the same.")
        self.saved = tree["state"]["step"]
        return tree

    def after_step(self, capture: Callable[[], Tree]) -> None:
        """Save the state if it is time to; after a signal save it and raise KeyboardInterrupt."""
        if asked := self.ranks.largest(self.signals.asked or 0):
            self.signals.asked = asked
            self._save(capture())
            raise KeyboardInterrupt
        if self.ranks.first and (now := time.perf_counter()) >= self.next:
            self._save(capture())
            cost = time.perf_counter() - now
            self.next = time.perf_counter() + max(self.every, SHARE * cost)

    def report(self, history: History) -> None:
        """Write the records so far, for who looks at a run while it trains; not over those of a run it may replace."""
        mine = self.resume or self.saved is not None or not (self.folder / MODEL_FILE).exists()
        if self.ranks.first and mine and (now := time.perf_counter()) >= self.next_records:
            with suppress(EnvironmentFault):  # of a full disk the next checkpoint tells
                write_history(self.folder, history)
            self.next_records = now + OFTEN

    def finished(self) -> None:
        """Forget the state: the run's model is written."""
        if self.ranks.first:
            remove_checkpoint(self.folder)

    def _save(self, tree: Tree) -> None:
        if not self.ranks.first:
            return
        facts: dict[str, Any] = {"options": asdict(self.options), "rows": self.rows, "threads": torch.get_num_threads()}
        try:
            if self.saved is None:
                write_config(self.folder, self.source, self.options)
            if save_checkpoint(self.folder, {**tree, "facts": facts | self._machine()}):
                self.saved = tree["state"]["step"]
        except EnvironmentFault as error:
            last = "No checkpoint was saved before." if self.saved is None else f"Last checkpoint: step {self.saved:,}."
            go_on = "" if self.saved is None else f" Make room and run: vaelab train --resume {self.folder}"
            raise EnvironmentFault(f"{error} {last}{go_on}") from error

    def _machine(self) -> dict[str, str | int]:
        """What else the bits of a run depend on."""
        products = "oneDNN" if ONEDNN else "torch's default"
        return {"torch": str(torch.__version__), "processes": self.ranks.world, "matrix products by": products}
