"""Steps that must not be taken: how they are told, what is named, how often the run tries again."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import EnvironmentFault
from ..models import Terms
from ..models.terms import layers
from ..part import wide
from .rows import Batch

IN_A_ROW = 5  # bad steps before the run goes back to its last good state, at half the learning rate
HALVINGS = 3  # then it stops
TIMES = 1000.0
FEWEST = 10  # losses that say how large a loss is
ROWS_NAMED = 8


@dataclass
class Watch:
    """Judges each step by its loss per row and the norm of its gradient.

    A loss is diverging above m + 1,000 max(|m|, r, 1), where m is the median and r the interquartile range of the
    losses of the first epoch (of those so far, from the tenth on, while it lasts). That is a distance from m, so it is
    the same rule for losses below zero; |m| keeps a first epoch that hardly moves from calling any change an explosion;
    1 nat is the unit that losses have. A fall is never a divergence.
    """

    first: list[float] = field(default_factory=list)  # sorted
    limit: float | None = None

    def fault(self, loss: float, norm: float) -> str | None:
        """Return "not finite", "diverging", or None for a step that may be taken."""
        if not math.isfinite(loss + norm):
            return "not finite"
        if self.limit is None:
            if len(self.first) >= FEWEST and loss > self._limit():
                return "diverging"
            bisect.insort(self.first, loss)
            return None
        return "diverging" if loss > self.limit else None

    def epoch_done(self) -> None:
        """Fix the limit once the first epoch is over."""
        if self.limit is None and self.first:
            self.limit = self._limit()
            self.first = []

    def _limit(self) -> float:
        n = len(self.first)
        median, spread = self.first[n // 2], self.first[3 * n // 4] - self.first[n // 4]
        return median + TIMES * max(abs(median), spread, 1.0)


def what_is_wrong(fault: str, terms: Terms, losses: dict[str, Tensor], model: nn.Module) -> str:
    """Name the first quantity that is not finite, in the order of computation; of a divergence the largest term."""
    if fault == "diverging":
        loss = sum(wide(loss.detach()).mean().item() for loss in losses.values())
        return f"the loss grew to {loss:.3g} per row, {_largest(terms)}"
    for name, q in layers(terms.q).items():
        for parameter, value in {"mean": q.mean, "variance": q.variance}.items():
            if (latent := _first_bad(value)) is not None:
                return f"the {parameter} of q({name} | x), latent {latent}"
    densities = {"log p(x | z)": terms.log_px, "log p(z)": terms.log_pz, "log q(z | x)": terms.log_qz}
    for label, density in densities.items():
        if density is not None and not torch.isfinite(density).all():
            return label
    for name, kl in terms.kl.items():
        if (latent := _first_bad(kl.flatten(0, 1))) is not None:
            return f"KL of {name}, latent {latent}"
    if not all(torch.isfinite(loss).all() for loss in losses.values()):
        return "the objective"
    for name, weights in model.named_parameters():
        if weights.grad is not None and not torch.isfinite(weights.grad).all():
            return f"the gradient of {name}"
    return "an overflow in the sum of gradients"


def rows_at_fault(batch: Batch, losses: dict[str, Tensor], names: NDArray[Any]) -> list[int | str]:
    """Return the names of the rows whose own loss is not finite; of all of the batch where it shows in none.

    A row's name is its number in its source, from 1, or its file.
    """
    if batch.index is None:
        return []
    bad = ~torch.stack([torch.isfinite(loss.detach()) for loss in losses.values()]).all(0)
    return sorted(names[(batch.index[bad] if bad.any() else batch.index).cpu().numpy()].tolist())


def named(
    fault: str, terms: Terms, losses: dict[str, Tensor], model: nn.Module, batch: Batch, names: NDArray[Any]
) -> dict[str, Any]:
    """Return what was wrong, the rows, and whether it shows in the losses of these rows themselves."""
    here = fault == "diverging" or not all(torch.isfinite(loss).all() for loss in losses.values())
    what = what_is_wrong(fault, terms, losses, model)
    return {"here": here, "what": what, "rows": rows_at_fault(batch, losses, names)}


def agreed(found: list[dict[str, Any]]) -> tuple[str, list[int | str]]:
    """Return what was wrong and the rows, of what each process found in its share: of those where it shows, or all."""
    guilty = [one for one in found if one["here"]] or found
    return guilty[0]["what"], sorted({row for one in guilty for row in one["rows"]})


def named_rows(rows: list[int | str]) -> str:
    """Return "rows 3, 7", the first few of many."""
    shown = ", ".join(str(row) for row in rows[:ROWS_NAMED])
    more = f" and {len(rows) - ROWS_NAMED} more" if len(rows) > ROWS_NAMED else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more}"


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out: Python's own, the accelerator's, or that of torch's CPU allocator."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


@contextmanager
def memory_said(what: str) -> Iterator[None]:
    """Turn an error that means that memory ran out into an EnvironmentFault that says what was too large."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise EnvironmentFault(
            f"memory ran out: {what} is too large for this machine. Use a smaller --batch-size or --hidden."
        ) from error


def _first_bad(value: Tensor) -> int | None:
    """Return the first place (rows first, the rest flattened) at which some row is not finite."""
    bad = (~torch.isfinite(value)).flatten(1).any(0).nonzero()
    return int(bad[0]) if len(bad) else None


def _largest(terms: Terms) -> str:
    """Return the term that contributes most to the loss, with its latent and its mean over rows and draws."""
    sizes = {"-log p(x | z)": -wide(terms.log_px.detach()).mean().item()}
    for name, kl in terms.kl.items():
        for latent, value in enumerate(wide(kl.detach()).mean((0, 1)).tolist()):
            sizes[f"KL of {name}, latent {latent}"] = value
    name = max(sizes, key=lambda term: sizes[term])
    return f"{name} is {sizes[name]:.3g}"
