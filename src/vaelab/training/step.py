"""The unit of training: rows and noise in, losses and their gradients out; as it stands, or compiled as one graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..conditional import Conditional
from ..models import Terms
from ..noise import Given, Noise, Recorded
from ..objectives import Objective
from ..part import wide
from .distributed import ALONE, Ranks
from .rows import Batch, steps_per_epoch
from .settings import Settings

WORTH = 150_000  # planned steps, times parts, from which compiling pays: it saves 0.3 ms of a step for each part
PASSES = 200  # of the planned ones count: a run that sees its rows more often than that mostly stops early
MINUTES = 5  # from which it pays where the clock decides
AGREE = 1e-3  # relative: how far the first compiled losses may be from those of the same step as it stands

Owned = dict[str, list[nn.Parameter]]


@dataclass
class Step:
    """What one batch says: by owner the losses (B,), the gradients and their norm; `summary` is (summed loss, norm)."""

    losses: dict[str, Tensor]
    gradients: Mapping[str, Sequence[Tensor | None]]
    norms: dict[str, Tensor]
    summary: Tensor  # float64: the one thing in a step that is looked at
    terms: Terms | None = None  # of a compiled step they are not known
    numbers: list[Tensor] | None = None  # that were drawn for a compiled step


def differentiate(
    model: nn.Module,
    objective: Objective,
    owned: Owned,
    batch: Batch,
    noise: Noise,
    step: Any,
    ranks: Ranks = ALONE,
) -> Step:
    """Return the losses of a batch, and the gradient of each owner's mean loss.

    Of several processes each has the losses of its share, and all the gradients and the sum of the whole batch.
    """
    place = {"index": batch.index} if objective.reads_index else {}
    losses, terms = objective(
        model, batch.x, noise=noise, step=step, observed=batch.observed, condition=batch.condition, **place
    )
    gradients, norms, totals = {}, {}, []
    for owner, parameters in owned.items():
        loss = losses[owner]
        mean = batch.share.mean(loss)
        local = torch.autograd.grad(mean, parameters, retain_graph=len(losses) > 1, allow_unused=True)
        slopes = ranks.added(local, parameters)
        gradients[owner] = slopes
        each = [torch.linalg.vector_norm(slope) for slope in slopes if slope is not None]
        norms[owner] = torch.stack(each).norm() if each else losses[owner].new_zeros(())
        totals.append(batch.share.sum(wide(loss.detach())))
    summary = torch.stack([ranks.total(torch.stack(totals).sum()), wide(torch.stack(list(norms.values())).sum())])
    return Step(losses, gradients, norms, summary, terms)


class Compiled:
    """`differentiate` as one graph: noise is drawn outside it, by the same generator in the same order.

    So a compiled step is the eager one to rounding. What a graph cannot hold (draws that depend on data, a part that
    reads a number of a tensor) makes `first` raise.
    """

    def __init__(self, model: nn.Module, objective: Objective, owned: Owned) -> None:
        self.model, self.objective, self.owned = model, objective, owned
        self.draws: list[tuple[str, tuple[int, ...], Tensor]] = []

        def whole(batch: Batch, numbers: list[Tensor], step: Tensor) -> tuple[Any, ...]:
            made = differentiate(model, objective, owned, batch, Given(numbers), step)
            return (
                {owner: loss.detach() for owner, loss in made.losses.items()},
                made.gradients,
                made.norms,
                made.summary,
            )

        # torch counts the graphs of one code object, and gives up after eight: this one is of this model alone
        whole.__code__ = whole.__code__.replace()
        self.whole = torch.compile(whole, fullgraph=True, dynamic=False)

    def first(self, batch: Batch, numbers: Recorded, step: int, expected: Step) -> Step:
        """Compile; raise where that fails, or where the losses are not those `expected` of the same numbers."""
        made = self._compiling(batch, numbers.values, step)
        for owner, loss in expected.losses.items():
            if not torch.allclose(made.losses[owner], loss.detach(), rtol=AGREE, atol=AGREE, equal_nan=True):
                raise ArithmeticError("the compiled losses are not those of the model as it stands")
        self.draws = numbers.draws
        return made

    def __call__(self, batch: Batch, noise: Noise, step: int) -> Step:
        """Return the step of a batch of the size of the first."""
        numbers = [getattr(noise, kind)(shape, like) for kind, shape, like in self.draws]
        try:
            return self._called(batch, numbers, step)
        except torch._dynamo.exc.Unsupported:  # something that was compiled in has changed, a weight in the objective
            return self._compiling(batch, numbers, step)

    def _compiling(self, batch: Batch, numbers: list[Tensor], step: int) -> Step:
        import torch._dynamo.config  # slow to load, and most runs do without

        with torch._dynamo.config.patch(trace_autograd_ops=True):
            return self._called(batch, numbers, step)

    def _called(self, batch: Batch, numbers: list[Tensor], step: int) -> Step:
        # a number would be compiled in; a tensor is handed in, of 64 bits as the number has them
        losses, gradients, norms, summary = self.whole(batch, numbers, torch.tensor(step, dtype=torch.float64))
        return Step(losses, gradients, norms, summary, numbers=numbers)


def pays(settings: Settings, model: nn.Module, rows: int, device: torch.device) -> bool:
    """Tell whether "auto" compiles: a rule on the planned run, not a measurement, since equal runs give equal bits.

    A model has a prior, a posterior and a likelihood; a likelihood of typed columns has a part for each kind of them.
    """
    if settings.compile != "auto":
        return settings.compile == "on"
    if device.type != "cpu":
        return False
    if settings.minutes is not None:
        return settings.minutes >= MINUTES
    parts = sum(isinstance(part, Conditional) for part in model.modules())
    passes = min(PASSES, settings.planned_epochs(rows) or 0)
    return parts * passes * steps_per_epoch(rows, settings.batch_size) >= WORTH
