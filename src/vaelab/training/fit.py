"""The one training loop (Kingma & Welling 2013, Algorithm 1), for every model and objective."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..conditional import Conditional
from ..errors import EnvironmentFault, TrainingError, UsageError
from ..memory import keep_freed_memory
from ..models import Model
from ..noise import Given, Noise, Recorded, stream
from ..objectives import Objective
from .average import EVERY, Average
from .checkpoint import from_bytes, to_bytes
from .distributed import ALONE, Ranks, refuse_coupled
from .rows import Batch, Rows, steps_per_epoch
from .schedules import learning_rate
from .settings import Settings
from .state import History, Keeper, State, Tree, copied, one_optimiser_each, put_back, snapshot
from .step import Compiled, Step, differentiate, pays
from .trouble import HALVINGS, IN_A_ROW, agreed, memory_said, named, named_rows, out_of_memory
from .validate import validation_bound

START = 2000  # rows that parts may start from
Kept = list[tuple[Tensor, Tensor]]  # a buffer, and what it was


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
    run = _Run(model, objective, train, valid, settings, report, keeper, ranks, initial)
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
    run = _Run(copy.deepcopy(model), copy.deepcopy(objective), train, None, settings, lambda record, history: None)
    index = torch.arange(min(settings.batch_size, len(train)), device=train.device)
    for step in range(steps + 2):
        if step == 2:
            start = time.perf_counter()
        run.step(train.at(index, run.noise))
    return (time.perf_counter() - start) / steps


def rehearse(model: nn.Module, objective: Objective, train: Rows, settings: Settings) -> None:
    """Ask for the losses of two rows, on copies: parts that do not fit together say so before training."""
    run = _Run(copy.deepcopy(model), copy.deepcopy(objective), train, None, settings, lambda record, history: None)
    batch = next(train.shuffled(2, run.order, run.noise))
    run.objective(run.model, batch.x, noise=run.noise, step=0, observed=batch.observed, condition=batch.condition)


class _Run:
    """One call of `optimise`: the objects that training moves, and `state`, where it is."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        train: Rows,
        valid: Rows | None,
        settings: Settings,
        report: Callable[[dict[str, Any], History], None],
        keeper: Keeper | None = None,
        ranks: Ranks = ALONE,
        initial: Mapping[str, Tensor] | None = None,
    ) -> None:
        if not isinstance(model, Model):
            raise UsageError(f"{type(model).__name__} is no model: it needs the methods terms() and generate().")
        self.model, self.objective, self.train = model, objective, train
        self.valid = None if valid is None else valid.drawn(settings.seed)
        self.settings, self.report, self.keeper, self.ranks = settings, report, keeper, ranks
        refuse_coupled(model, objective, ranks)
        device = train.device
        objective.to(device)  # it may own a critic
        self.order = stream(settings.seed, "order")
        self.noise = Noise(stream(settings.seed, "noise", device))
        self.optimisers = one_optimiser_each(objective.owners(model), settings, device)
        self.owned = {owner: parameters for owner, (_, parameters) in self.optimisers.items()}
        self.graph: Compiled | None = None
        self.updating = [m for m in model.modules() if isinstance(m, Conditional) and m.updates]
        # running statistics, which a bad step spoils too; after a look at the first step those that forward does move
        self.moving, self.looked = [*model.buffers(), *objective.buffers()], False
        self.epochs = settings.planned_epochs(len(train))
        steps = self.epochs and self.epochs * steps_per_epoch(len(train), settings.batch_size)
        self.state, self.start = State(settings.batch_size, steps), time.perf_counter()
        self.average = Average()
        kept = None if keeper is None else keeper.restore()
        if kept is None:
            self._begin(initial or {})
            self.state.good = copied(self._snapshot())
        else:
            self._restore(kept)
        if ranks.world > 1:  # what the first process read or began with holds for all
            state = ranks.handed(to_bytes(self._capture()) if ranks.first else None)
            if not ranks.first:
                self._restore(from_bytes(state, "the state of the first process"))

    def _begin(self, initial: Mapping[str, Tensor]) -> None:
        """Let parts and objective start from data, then from weights."""
        if self.train.store is None:
            pick = torch.randperm(len(self.train), generator=stream(self.settings.seed, "start"))[:START]
            some = self.train.drawn(self.settings.seed).at(pick)
        else:  # in random order already
            some = self.train.first(START).drawn(self.settings.seed).at(slice(None))
        x = some.x if some.observed is None else torch.where(some.observed, some.x, torch.nan)
        with torch.no_grad():
            for part in [*self.model.modules(), self.objective]:
                if isinstance(part, (Conditional, Objective)):
                    part.start(x, len(self.train))
        self.model.load_state_dict(initial, strict=False)

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
        if self.history.compiled is None:
            # a graph gives no terms, which a part that re-estimates itself reads, and is told no rows' places; it holds
            # no exchange with other processes either
            plain = bool(self.updating) or self.objective.reads_index or self.ranks.world > 1
            self.history.compiled = not plain and pays(settings, len(self.train), self.train.device)
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
        for batch in self.train.shuffled(state.batch_size, self.order, self.noise, skip=state.row, ranks=self.ranks):
            loss = self.step(batch)
            state.row += batch.share.whole
            if loss is not None:
                state.loss, state.counted = state.loss + loss, state.counted + batch.share.whole
            if self.keeper is not None:
                self.keeper.after_step(self._capture)
            if self.progress >= 1:
                break

    def step(self, batch: Batch) -> float | None:
        """Take one step of every optimiser; return the summed loss, or None if the step was undone."""
        settings, state = self.settings, self.state
        rate = learning_rate(settings.lr, self.progress, state.step, warmup=settings.lr_warmup, decay=settings.decay)
        before = [(buffer, buffer.clone()) for buffer in self.moving]
        made = self._made(batch, before)
        if not self.looked:
            self.moving, self.looked = [buffer for buffer, old in before if not torch.equal(buffer, old)], True
        state.step += 1
        for owner, (_, parameters) in self.optimisers.items():
            for parameter, gradient in zip(parameters, made.gradients[owner]):
                parameter.grad = gradient
        total, norm = made.summary.tolist()  # the one look at the device in a step
        if fault := state.watch.fault(total / batch.share.whole, norm):
            _put_back(before)
            if made.terms is None:
                made = self._as_it_stands(batch, Given(made.numbers or []))
                _put_back(before)
            assert made.terms is not None
            mine = named(fault, made.terms, made.losses, self.model, batch, self.train.names)
            self._undone(fault, *agreed(self.ranks.gathered(mine)))
            return None
        for owner, (optimiser, parameters) in self.optimisers.items():
            if settings.clip is not None:
                nn.utils.clip_grads_with_norm_(parameters, settings.clip, made.norms[owner])
            for group in optimiser.param_groups:
                group["lr"] = rate * state.rate
            optimiser.step()
        for part in self.updating:
            assert made.terms is not None
            part.update(made.terms)
        if settings.average and state.step % EVERY == 0:
            self.average.add(self.model, state.step)
        state.bad_in_a_row = 0
        return total

    def _made(self, batch: Batch, before: Kept) -> Step:
        """Return the losses and gradients of a batch, of the usual size by the compiled graph if there is to be one."""
        if not self.history.compiled or len(batch.x) != min(self.state.batch_size, len(self.train)):
            return self._as_it_stands(batch, self.noise)
        if self.graph is not None:
            return self.graph(batch, self.noise, self.state.step)
        numbers = Recorded(self.noise)
        plain = self._as_it_stands(batch, numbers)
        _put_back(before)
        graph = Compiled(self.model, self.objective, self.owned)
        try:
            made = graph.first(batch, numbers, self.state.step, plain)
        except Exception as error:  # of a compiler anything may come; a fault of the model's own showed above
            why = " ".join(str(error).split())[:200]
            if self.settings.compile == "on":
                raise EnvironmentFault(f"this training cannot be compiled: {why} Use --compile off.") from error
            self.history.notes.append(f"not compiled, which costs time only: {why}")
            self.history.compiled = False
            _put_back(before)
            return self._as_it_stands(batch, Given(numbers.values))
        self.graph = graph
        return made

    def _as_it_stands(self, batch: Batch, noise: Noise) -> Step:
        own = batch.share.noise(noise)
        return differentiate(self.model, self.objective, self.owned, batch, own, self.state.step, self.ranks)

    def _undone(self, fault: str, what: str, rows: list[int | str]) -> None:
        """Count and name a step that was not taken; after a few in a row go back and halve the rate, or give up."""
        state, history = self.state, self.history
        history.skipped += 1
        state.bad_in_a_row += 1
        if history.first_bad is None:
            history.first_bad = f"step {state.step}: {what}" + (f", {named_rows(rows)}" if rows else "")
        if len(history.bad_steps) < 20:
            history.bad_steps.append({"step": state.step, "fault": fault, "what": what, "rows": rows})
        if state.bad_in_a_row < IN_A_ROW:
            return
        if history.halvings == HALVINGS:
            history.stopped = fault
            raise TrainingError(
                f"the loss is {fault}, first at {history.first_bad}; halving the learning rate {HALVINGS} times did "
                "not help. Try a lower learning rate (--lr), --clip 1000, or look at the rows."
            )
        assert state.good is not None
        self._go_back(state.good)
        history.halvings += 1
        state.rate /= 2
        state.bad_in_a_row = 0

    def _halve_batch(self, error: BaseException) -> bool:
        """Go on with half the batch where memory ran out in a step; False if it did not, or was halved before."""
        state, rows = self.state, len(self.train)
        halved = state.batch_size < self.settings.batch_size or state.batch_size == 1
        if not out_of_memory(error) or halved or self.ranks.world > 1:
            return False
        for parameter in [*self.model.parameters(), *self.objective.parameters()]:
            parameter.grad = None
        state.batch_size //= 2
        self.graph = None  # it was of batches of another size
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
            self.average.add(self.model, self.state.step)
        with self.average.within(self.model):
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
            self.state.good = copied(self._snapshot())
        return better

    def _snapshot(self) -> Tree:
        return {**snapshot(self.model, self.objective, self.optimisers), "average": vars(self.average)}

    def _go_back(self, tree: Tree) -> None:
        """Make weights, optimisers and average what they were at `_snapshot`."""
        put_back(tree, self.model, self.objective, self.optimisers)
        self.average = Average(**copied(tree["average"]))

    def _capture(self) -> Tree:
        """Return everything that the next step depends on; not copied."""
        state = {**self.state.tree(), "seconds": self.seconds}
        noise = {"device": self.train.device.type, "state": self.noise.generator.get_state()}
        return {"state": state, "now": self._snapshot(), "noise": noise}

    def _restore(self, kept: Tree) -> None:
        """Go on from what `_capture` returned."""
        self._go_back(kept["now"])
        steps = self.state.total_steps
        self.state = State.of(kept["state"])
        begun, here = kept["noise"]["device"], self.train.device.type
        if begun == here:
            self.noise.generator.set_state(kept["noise"]["state"])
        else:
            self.noise = Noise(stream(self.settings.seed, f"noise {self.state.step}", self.train.device))
            self.history.notes.append(f"begun on {begun}, went on with other noise on {here}.")
        if self.state.batch_size == self.settings.batch_size:
            self.state.total_steps = steps  # --epochs may be another now

    def close(self) -> None:
        """Leave the model with its best weights, else their mean, without gradients, ready for use."""
        if self.settings.average:
            self.average.add(self.model, self.state.step)
        if weights := self.state.best or self.average.weights:
            self.model.load_state_dict(weights)
        for parameter in self.model.parameters():
            parameter.grad = None
        self.model.eval()
        self.history.seconds = self.seconds


def _put_back(before: Kept) -> None:
    for buffer, old in before:
        buffer.copy_(old)
