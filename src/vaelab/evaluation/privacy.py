"""How near drawn rows are to those of training: copies, and distances to the closest record."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..data import Dataset
from ..data.fields import Levels
from ..errors import DataError

ROWS, PAIRS = 20_000, 2**24  # of each side, at most; distances in one pass


@dataclass(frozen=True)
class Privacy:
    """How drawn rows lie between rows of training and rows that training never saw; no promise of privacy.

    rows           how many drawn rows were looked at
    copies         how many of them equal a training row in every column
    copies_held_out  how many equal a held-out row: what chance alone gives
    closer         the share that is closer to training than to held-out rows of equal number, a tie counting half:
                   1/2 where the model learned the law and no row; `closer_se` is its standard error
    distance_train, distance_held_out   medians of the distance to the closest row of each
    compared       how many rows of training and of held-out each are compared

    A share of 1/2 and no copies do not prove that no row can be told from the model: membership inference, and what a
    rare value or the model's weights give away, are other questions.
    """

    rows: int
    copies: int
    copies_held_out: int
    closer: float
    closer_se: float
    distance_train: float
    distance_held_out: float
    compared: int

    def json(self) -> dict[str, Any]:
        """Return the figures by name."""
        return vars(self).copy()


def privacy(drawn: Tensor, train: Dataset, held_out: Dataset, *, seed: int = 0) -> Privacy:
    """Compare drawn rows (n, *shape), in the user's units, with as many training as held-out rows.

    The distance of two rows is the mean over columns of |a - b| / deviation for numbers, 0 or 1 for words; a column
    that was not observed in the record adds nothing. Equal numbers of rows on each side make 1/2 the share under no
    memory. Raises DataError without held-out rows.
    """
    if not len(held_out) or not len(drawn):
        raise DataError("privacy: needs drawn rows, and rows that training never saw. Train with --validation 0.2.")
    pick = torch.Generator().manual_seed(seed)
    number = min(len(train), len(held_out), ROWS)
    own, other = (_some(rows.x.double().flatten(1), number, pick) for rows in (train, held_out))
    new = _some(drawn.double().flatten(1), min(len(drawn), ROWS), pick)
    words = torch.tensor([isinstance(field, Levels) and not field.ordered for field in train.schema.kinds] or [False])
    words = words.expand(new.shape[1])
    spread = _deviation(train.x.double().flatten(1))
    near, far = (closest(new, rows, words, spread) for rows in (own, other))
    closer = (near < far).double() + 0.5 * (near == far).double()
    every = {tuple(row) for row in train.x.double().flatten(1).nan_to_num(nan=math.inf).tolist()}
    unseen = {tuple(row) for row in other.nan_to_num(nan=math.inf).tolist()}
    return Privacy(
        rows=len(new),
        copies=sum(tuple(row) in every for row in new.tolist()),
        copies_held_out=sum(tuple(row) in unseen for row in new.tolist()),
        closer=closer.mean().item(),
        closer_se=closer.std().item() / math.sqrt(len(new)) if len(new) > 1 else math.nan,
        distance_train=near.median().item(),
        distance_held_out=far.median().item(),
        compared=number,
    )


def _some(rows: Tensor, number: int, generator: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)[:number]]


def _deviation(rows: Tensor) -> Tensor:
    seen = ~rows.isnan()
    mean = rows.nansum(0) / seen.sum(0)
    deviation = (torch.where(seen, rows - mean, 0.0).square().sum(0) / seen.sum(0)).sqrt()
    return torch.where(deviation > 0, deviation, 1.0)


def closest(new: Tensor, rows: Tensor, words: Tensor, spread: Tensor) -> Tensor:
    """Return the distance of each of `new` (n, D) to the closest of `rows` (m, D), (n,)."""
    seen = ~rows.isnan()
    rows, number = torch.where(seen, rows, 0.0), seen.double().sum(1).clamp(min=1)
    parts = []
    for some in new.split(max(1, PAIRS // rows.numel())):
        gap = (some[:, None] - rows).abs()
        gap = torch.where(words, (gap > 0).double(), gap / spread) * seen
        parts.append((gap.sum(-1) / number).amin(1))
    return torch.cat(parts)
