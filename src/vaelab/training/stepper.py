"""A step of training, taken: the optimisers it moves, what is undone and named, and when to go back and slow down."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..conditional import Conditional
from ..errors import EnvironmentFault, TrainingError, UsageError
from ..models import Model
from ..noise import Given, Noise, Recorded, stream
from ..objectives import Objective
from .average import EVERY, Average
from .distributed import ALONE, Ranks, refuse_coupled
from .rows import Batch, Rows, steps_per_epoch
from .schedules import learning_rate
from .settings import Settings
from .state import History, State, Tree, copied, one_optimiser_each, put_back, snapshot
from .step import Compiled, Step, differentiate, pays
from .trouble import HALVINGS, IN_A_ROW, agreed, named, named_rows

START = 2000  # rows that parts may start from
Kept = list[tuple[Tensor, Tensor]]  # a buffer, and what it was


class Stepper:
    """A model and an objective in training, and `state`, where they are: `begin`, then `step` by batch."""

    def __init__(
        self, model: nn.Module, objective: Objective, train: Rows, settings: Settings, ranks: Ranks = ALONE
    ) -> None:
        if not isinstance(model, Model):
            raise UsageError(f"{type(model).__name__} is no model: it needs the methods terms() and generate().")
        refuse_coupled(model, objective, ranks)
        self.model, self.objective, self.train, self.settings, self.ranks = model, objective, train, settings, ranks
        device = train.device
        objective.to(device)  # it may own a critic
        self.noise = Noise(stream(settings.seed, "noise", device))
        self.optimisers = one_optimiser_each(objective.owners(model), settings, device)
        self.owned = {owner: parameters for owner, (_, parameters) in self.optimisers.items()}
        self.graph: Compiled | None = None
        self.precision(settings.precision)
        self.updating = [m for m in model.modules() if isinstance(m, Conditional) and m.updates]
        # running statistics, which a bad step spoils too; after a look at the first step those that forward does move
        self.moving, self.looked = [*model.buffers(), *objective.buffers()], False
        self.average = Average()
        epochs = settings.planned_epochs(len(train))
        steps = epochs and epochs * steps_per_epoch(len(train), settings.batch_size)
        self.state = State(settings.batch_size, steps)

    @property
    def history(self) -> History:
        """What happened so far."""
        return self.state.history

    def begin(self, initial: Mapping[str, Tensor]) -> None:
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
        self.state.good = copied(self.snapshot())

    def precision(self, name: str) -> None:
        """Let networks multiply in the weights' own type ("full") or "bfloat16", wherever they are in training."""
        for part in self.model.modules():
            if isinstance(part, Conditional):
                part.products = torch.bfloat16 if name == "bfloat16" else None

    def choose_mode(self) -> None:
        """Decide whether steps are compiled, once in a run."""
        if self.history.compiled is not None:
            return
        # a graph gives no terms, which a part that re-estimates itself reads, and is told no rows' places; it holds no
        # exchange with other processes either
        plain = bool(self.updating) or self.objective.reads_index or self.ranks.world > 1
        self.history.compiled = not plain and pays(self.settings, self.model, len(self.train), self.train.device)

    def step(self, batch: Batch, progress: float) -> float | None:
        """Take a step of every optimiser, at this share of the run; return the summed loss, None if it was undone."""
        settings, state = self.settings, self.state
        rate = learning_rate(settings.lr, progress, state.step, warmup=settings.lr_warmup, decay=settings.decay)
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
        self.go_back(state.good)
        history.halvings += 1
        state.rate /= 2
        state.bad_in_a_row = 0

    def snapshot(self) -> Tree:
        """Return weights, optimisers and average; not copied."""
        return {**snapshot(self.model, self.objective, self.optimisers), "average": vars(self.average)}

    def go_back(self, tree: Tree) -> None:
        """Make weights, optimisers and average what they were at `snapshot`."""
        put_back(tree, self.model, self.objective, self.optimisers)
        self.average = Average(**copied(tree["average"]))


def _put_back(before: Kept) -> None:
    for buffer, old in before:
        buffer.copy_(old)
