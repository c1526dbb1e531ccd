"""A run that is decided but not trained yet: what it says of itself, its time, and its training."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .data import Dataset, described
from .data.conditions import describe as given
from .errors import EnvironmentFault, TrainingError
from .objectives import Objective
from .options import TrainOptions
from .parts import Spec
from .recipes import Recipe
from .run import Run
from .splits import Splits
from .training import (
    ALONE,
    Augment,
    History,
    Keeper,
    Ranks,
    Rows,
    Settings,
    check_memory,
    memory_said,
    optimise,
    pays,
    rehearse,
    steps_per_epoch,
    time_per_step,
)

Report = Callable[[dict[str, Any], History], None]


@dataclass(frozen=True, repr=False)
class Plan:
    """A run that is decided but not trained yet."""

    source: Any
    options: TrainOptions
    recipe: Recipe
    splits: Splits
    specs: dict[str, Spec]
    reason: str
    model: nn.Module
    objective: Objective
    settings: Settings
    device: torch.device
    initial: dict[str, Tensor] = field(default_factory=dict)  # weights to start from
    started: str = ""  # what was taken, in words

    def describe(self) -> str:
        """Return what would be trained, one line each: data, split, model, likelihood with its reason, device, time."""
        train, validation = self.splits.train, self.splits.validation
        parameters = sum(p.numel() for p in self.model.parameters())
        held = (
            f"{len(validation):,} validation" if validation is not None else "no validation: the last weights are kept"
        )
        parts, threads = self.specs, self.options.threads or torch.get_num_threads()
        compiled = ", a compiled step" if pays(self.settings, self.model, len(train), self.device) else ""
        if self.settings.precision != "full":
            compiled += f", products in {self.settings.precision}"
        kinds = train.schema.kinds and parts["likelihood"].name == "columns"
        lines = [
            f"data     {train.schema.name}   {train.schema.describe()}",
            f"split    {len(train):,} train, {held}"
            + (f", {len(self.splits.test):,} test" if self.splits.test else ""),
            f"model    {self.recipe.name}, {self.latent_dims} latent dimensions, {parameters:,} parameters",
            f"         p(z) {parts['prior']}   q(z | x) {parts['posterior']}   objective {parts['objective']}"
            + f"   network {parts['network']}"
            + "".join(f"   {role} {parts[role]}" for role in ("refine", "missingness") if role in parts),
            f"         p(x | z) {'columns' if kinds else parts['likelihood']}, because {self.reason}",
            *described(train.schema),
            f"device   {self.device.type}, {threads} threads{compiled}, seed {self.settings.seed}",
        ]
        notes = train.notes + ((self.started,) if self.started else ())
        if self.settings.precision == "bfloat16" and self.device.type == "cpu" and not _knows_bfloat16():
            notes += ("no product of 16 bits is known of this processor: --precision bfloat16 may cost time.",)
        if self.latent_dim > train.schema.dims:
            notes += (f"{self.latent_dim} latent dimensions for rows of {train.schema.dims}: some will carry nothing.",)
        if train.schema.conditions:
            lines.insert(2, f"given    {given(train.schema.conditions)}")
        return "\n".join([*lines, *(f"note     {note}" for note in notes)])

    def __repr__(self) -> str:
        return f"Plan({self.recipe.name}, {self.splits.train.schema.name}: {len(self.splits.train):,} rows to train)"

    @property
    def latent_dim(self) -> int:
        """The number of latent dimensions."""
        return int(self.model.latent_dim)  # type: ignore[arg-type]

    @property
    def latent_dims(self) -> str:
        """The number of latent dimensions of each stochastic layer, from x upwards: "20 + 10"."""
        return " + ".join(f"{size:,}" for size in getattr(self.model, "sizes", [self.latent_dim]))

    def rehearse(self) -> None:
        """Raise UsageError where model and objective do not fit together."""
        few = self.splits.train.take(list(range(min(10, len(self.splits.train)))))
        with suppress(EnvironmentFault), self._threads(), memory_said("this model"):  # `run` says it, with figures
            rehearse(self.model, self.objective, self._training_rows(few), self.settings)

    def estimate(self) -> str:
        """Return how long training will take, from a few steps on a copy of the model."""
        if self.settings.minutes is not None:
            return f"time     {self.settings.minutes:g} minutes, as asked"
        with self._threads():
            step = time_per_step(self.model, self.objective, self._training_rows(self.splits.train), self.settings)
        epochs = self.settings.planned_epochs(len(self.splits.train)) or 0
        steps = epochs * steps_per_epoch(len(self.splits.train), self.settings.batch_size)
        return f"time     about {duration(steps * step)} for {epochs:,} epochs of {steps // epochs:,} steps, at most"

    def run(
        self, report: Report = lambda record, history: None, keeper: Keeper | None = None, ranks: Ranks = ALONE
    ) -> Run:
        """Train and return the run. Raises TrainingError, which holds the run as far as it came.

        A keeper keeps the state of the run, and hands in the one to go on from: see `vaelab.keeper`. `ranks` are the
        processes that train it together.
        """
        train, validation = self.splits.train, self.splits.validation
        settings = self.settings
        with self._threads():
            probe = self._rows(train.take([0, 1]))
            here = len(train) if train.store is None else min(len(train), 2 * train.store.block)
            check_memory(self.model, probe, self.objective.samples, rows=here, batch_size=settings.batch_size)
            try:
                history = optimise(
                    self.model,
                    self.objective,
                    self._training_rows(train),
                    None if validation is None else self._rows(validation),
                    settings,
                    report,
                    keeper,
                    ranks,
                    self.initial,
                )
            except TrainingError as error:
                error.run = self.finished(error.history) if error.history.best else None
                raise
            return self.finished(history)

    def finished(self, history: History) -> Run:
        """Return the run that the model, as it is now, makes with what happened in training."""
        return Run(self.model.cpu(), self.splits.schema, self._meta(history), history, self.splits.by_name())

    def _training_rows(self, data: Dataset) -> Rows:
        rows = self._rows(data)
        rows.move = Augment.parse(self.options.augment) if self.options.augment else None
        return rows

    def _rows(self, data: Dataset) -> Rows:
        return Rows(data, device=self.device)

    def _threads(self) -> _Threads:
        return _Threads(self.options.threads)

    def _meta(self, history: History) -> dict[str, Any]:
        """What the model file says of its making: nothing that differs between equal runs."""
        best = {k: v for k, v in (history.best or {}).items() if k != "seconds"}
        return {
            "recipe": self.recipe.name,
            "paper": self.recipe.paper,
            **({"started": self.started} if self.started else {}),
            "parts": {role: str(spec) for role, spec in self.specs.items()},
            "reason": self.reason,
            "data": {
                "name": self.splits.schema.name,
                "train": len(self.splits.train),
                "validation": 0 if self.splits.validation is None else len(self.splits.validation),
                "digest": self.splits.train.digest,
                **_gaps(self.splits.train),
            },
            "best": best,
            "stopped": history.stopped,
            "skipped_steps": history.skipped,
            "first_bad": history.first_bad,
            "settings": {k: v for k, v in vars(self.settings).items() if v is not None},
            "threads": torch.get_num_threads(),
            "compiled": bool(history.compiled),
            "torch": str(torch.__version__),
        }


def _knows_bfloat16() -> bool:
    return any(there for name, there in torch.cpu.get_capabilities().items() if "bf16" in name)


def _gaps(train: Dataset) -> dict[str, Any]:
    """Return the columns of a mixed table that had gaps in training: what else is missing later is unheard of."""
    if not train.schema.kinds:
        return {}
    gone = [False] * len(train.schema.kinds) if train.observed is None else (~train.observed.all(0)).tolist()
    return {"missing": [name for name, some in zip(train.schema.columns or (), gone) if some]}


class _Threads:
    """A number of threads for a while; the caller's is put back."""

    def __init__(self, number: int | None) -> None:
        self.number, self.before = number, torch.get_num_threads()

    def __enter__(self) -> None:
        if self.number is not None:
            torch.set_num_threads(self.number)

    def __exit__(self, *error: object) -> None:
        torch.set_num_threads(self.before)


def duration(seconds: float) -> str:
    """Return "42 s", "3 min" or "2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
