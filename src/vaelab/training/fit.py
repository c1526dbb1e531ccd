"""The one training loop (Kingma & Welling 2013, Algorithm 1), for every model and objective."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import TrainingError
from ..memory import keep_freed_memory
from ..noise import Noise, stream
from ..objectives import Objective
from .checkpoint import from_bytes, to_bytes
from .distributed import ALONE, Ranks
from .rows import Rows, steps_per_epoch
from .settings import Settings
from .state import History, Keeper, State, Tree, copied
from .stepper import Stepper
from .trouble import memory_said, out_of_memory
from .validate import validation_bound


def optimise(
    model: nn.Module,
    objective: Objective,
    train: Rows,
    valid: Rows | None = None,
    settings: Settings | None = None,
    report: Callable[[dict[str, Any], History], None] = lambda record, history: None,
    keeper: Keeper | None = None,
    ranks: Ranks = ALONE,
    initial: Mapping[str, Tensor] | None = None,
) -> History:
    """Train `model` in place and return the history.

    What is judged, reported and kept are the weights' mean (`Average`), unless `settings.average` is False: with
    validation rows that of the best validation bound at beta = 1; without, the last one. Ctrl-C ends the loop as if its
    time were up. A step whose loss is not finite or diverging is undone; after five in a row the run goes back to its
    last good state, at half the learning rate. Raises TrainingError when three halvings did not help, the model then
    left as it would be at the end. `ranks` are the processes that train it together, each with all of the rows.
    `initial` are weights by name to start from; others start as they are.
    """
    settings = settings or Settings()
    keep_freed_memory()
    run = _Run(Stepper(model, objective, train, settings, ranks), valid, report, keeper, initial)
    try:
        with memory_said("a step of this training, or the look at the validation rows,"):
            run.loop()
    except KeyboardInterrupt:
        run.history.stopped = "interrupted"
    except TrainingError as error:
        error.history = run.history
        raise
    finally:
        run.close()
    return run.history


def time_per_step(model: nn.Module, objective: Objective, train: Rows, settings: Settings, steps: int = 10) -> float:
    """Return the seconds that one training step takes, measured on a copy of the model."""
    stepper = Stepper(copy.deepcopy(model), copy.deepcopy(objective), train, settings)
    stepper.begin({})
    index = torch.arange(min(settings.batch_size, len(train)), device=train.device)
    for step in range(steps + 2):
        if step == 2:
            start = time.perf_counter()
        stepper.step(train.at(index, stepper.noise), 0.0)
    return (time.perf_counter() - start) / steps


def rehearse(model: nn.Module, objective: Objective, train: Rows, settings: Settings) -> None:
    """Ask for the losses of two rows, on copies: parts that do not fit together say so before training."""
    stepper = Stepper(copy.deepcopy(model), copy.deepcopy(objective), train, settings)
    stepper.begin({})
    noise = stepper.noise
    batch = next(train.shuffled(2, stream(settings.seed, "order"), noise))
    stepper.objective(stepper.model, batch.x, noise=noise, step=0, observed=batch.observed, condition=batch.condition)


class _Run:
    """One call of `optimise`: epochs of steps, and between them looks at the validation rows."""

    def __init__(
        self,
        stepper: Stepper,
        valid: Rows | None,
        report: Callable[[dict[str, Any], History], None],
        keeper: Keeper | None,
        initial: Mapping[str, Tensor] | None,
    ) -> None:
        self.stepper, self.report, self.keeper = stepper, report, keeper
        self.model, self.objective, self.train = stepper.model, stepper.objective, stepper.train
        self.settings, self.ranks = stepper.settings, stepper.ranks
        self.valid = None if valid is None else valid.drawn(self.settings.seed)
        self.order = stream(self.settings.seed, "order")
        self.epochs = self.settings.planned_epochs(len(self.train))
        self.start = time.perf_counter()
        kept = None if keeper is None else keeper.restore()
        if kept is None:
            stepper.begin(initial or {})
        else:
            self._restore(kept)
        if self.ranks.world > 1:  # what the first process read or began with holds for all
            state = self.ranks.handed(to_bytes(self._capture()) if self.ranks.first else None)
            if not self.ranks.first:
                self._restore(from_bytes(state, "the state of the first process"))

    @property
    def state(self) -> State:
        return self.stepper.state

    @property
    def history(self) -> History:
        return self.state.history

    @property
    def seconds(self) -> float:
        return self.state.seconds + time.perf_counter() - self.start

    @property
    def elapsed(self) -> float:
        """The seconds by the clock of the first process, by which all decide."""
        return self.ranks.told(self.seconds)

    @property
    def progress(self) -> float:
        """The share of the run that is done, by steps or by the clock."""
        if self.state.total_steps:
            return self.state.step / self.state.total_steps
        return self.elapsed / (60 * (self.settings.minutes or 1))

    def loop(self) -> None:
        settings, state = self.settings, self.state
        every = max(1, (self.epochs or 0) // 200)
        self.stepper.choose_mode()
        self.model.train()
        while self.progress < 1 or state.row:  # a run kept after its last step still owes the look at its rows
            try:
                self._epoch()
            except (MemoryError, RuntimeError) as error:
                if not self._halve_batch(error):
                    raise
                continue
            loss = state.loss / state.counted if state.counted else None
            state.epoch, state.row, state.loss, state.counted = state.epoch + 1, 0, 0.0, 0
            state.watch.epoch_done()
            by_clock = not self.epochs and self.elapsed - state.last_report < 0.3 * (settings.minutes or 1)
            if (state.epoch % every or by_clock) and self.progress < 1:
                continue
            state.last_report = self.elapsed
            state.since_best = 0 if self._record(state.epoch, loss) else state.since_best + 1
            if self.valid is not None and state.since_best >= settings.patience:
                self.history.stopped = f"no better validation bound in {settings.patience} reports"
                return

    def _epoch(self) -> None:
        """Go through the rows of this epoch that are not done yet."""
        state = self.state
        if state.row:
            assert state.order is not None
            self.order.set_state(state.order)  # the same permutation again
        else:
            state.order = self.order.get_state()
        noise = self.stepper.noise
        for batch in self.train.shuffled(state.batch_size, self.order, noise, skip=state.row, ranks=self.ranks):
            loss = self.stepper.step(batch, self.progress)
            state.row += batch.share.whole
            if loss is not None:
                state.loss, state.counted = state.loss + loss, state.counted + batch.share.whole
            if self.keeper is not None:
                self.keeper.after_step(self._capture)
            if self.progress >= 1:
                break

    def _halve_batch(self, error: BaseException) -> bool:
        """Go on with half the batch where memory ran out in a step; False if it did not, or was halved before."""
        state, rows = self.state, len(self.train)
        halved = state.batch_size < self.settings.batch_size or state.batch_size == 1
        if not out_of_memory(error) or halved or self.ranks.world > 1:
            return False
        for parameter in [*self.model.parameters(), *self.objective.parameters()]:
            parameter.grad = None
        state.batch_size //= 2
        self.stepper.graph = None  # it was of batches of another size
        if self.epochs:
            later = (self.epochs - state.epoch - 1) * steps_per_epoch(rows, state.batch_size)
            state.total_steps = state.step + steps_per_epoch(rows - state.row, state.batch_size) + later
        self.history.notes.append(
            f"memory ran out at step {state.step}: from there on a batch had {state.batch_size} rows, half of before."
        )
        return True

    def _record(self, epoch: int, loss: float | None) -> bool:
        """Validate, report, and keep the weights if they are the best so far; return whether they are."""
        record: dict[str, Any] = {"epoch": epoch, "step": self.state.step, "seconds": self.seconds, "loss": loss}
        record["progress"] = min(1.0, self.progress)
        better = sound = loss is not None  # an epoch without a step is no candidate
        if sound and self.settings.average:
            self.stepper.average.add(self.model, self.state.step)
        with self.stepper.average.within(self.model):
            if self.valid is not None:
                self.model.eval()
                weighed = self.objective.samples if self.objective.weighs else 0
                judged = validation_bound(
                    self.model, self.valid, seed=self.settings.seed, weighed=weighed, ranks=self.ranks
                )
                self.model.train()
                record |= judged._asdict()
                sound &= math.isfinite(judged.bound)
                better = sound and (self.history.best is None or judged.bound > self.history.best["bound"])
            if better:
                self.history.best = record
                if self.valid is not None:
                    self.state.best = copied(dict(self.model.state_dict()))
            self.history.records.append(record)
            self.report(record, self.history)
        if sound and not self.state.bad_in_a_row:
            self.state.good = copied(self.stepper.snapshot())
        return better

    def _capture(self) -> Tree:
        """Return everything that the next step depends on; not copied."""
        state = {**self.state.tree(), "seconds": self.seconds}
        noise = {"device": self.train.device.type, "state": self.stepper.noise.generator.get_state()}
        return {"state": state, "now": self.stepper.snapshot(), "noise": noise}

    def _restore(self, kept: Tree) -> None:
        """Go on from what `_capture` returned."""
        self.stepper.go_back(kept["now"])
        steps = self.state.total_steps
        self.stepper.state = State.of(kept["state"])
        begun, here = kept["noise"]["device"], self.train.device.type
        if begun == here:
            self.stepper.noise.generator.set_state(kept["noise"]["state"])
        else:
            self.stepper.noise = Noise(stream(self.settings.seed, f"noise {self.state.step}", self.train.device))
            self.history.notes.append(f"begun on {begun}, went on with other noise on {here}.")
        if self.state.batch_size == self.settings.batch_size:
            self.state.total_steps = steps  # --epochs may be another now

    def close(self) -> None:
        """Leave the model with its best weights, else their mean, without gradients, ready for use."""
        if self.settings.average:
            self.stepper.average.add(self.model, self.state.step)
        if weights := self.state.best or self.stepper.average.weights:
            self.model.load_state_dict(weights)
        for parameter in self.model.parameters():
            parameter.grad = None
        self.stepper.precision("full")
        self.model.eval()
        self.history.seconds = self.seconds
