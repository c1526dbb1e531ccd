"""What parts and objectives learn before the first step: some training rows, and how many there are."""

from __future__ import annotations

import torch
from torch import nn

from ..conditional import Conditional
from ..noise import Noise, stream
from ..objectives import Objective
from .rows import Rows

MOST = 2000  # rows that a part is shown


def start_from_data(model: nn.Module, objective: Objective, train: Rows, seed: int) -> None:
    """Call start(x, rows) of every part of the model and of the objective, x being up to 2,000 training rows at random.

    What was not observed is 0 in x. Parts keep what they learn in their tensors, so a run that is resumed puts them
    back as they were.
    """
    index = torch.randperm(len(train), generator=stream(seed, "start"))[:MOST].to(train.data.device)
    batch = train.at(index, Noise(stream(seed, "start rows", train.data.device)))
    x = batch.x if batch.observed is None else torch.where(batch.observed, batch.x, 0)
    objective.to(x.device)
    with torch.no_grad():
        parts: list[Conditional | Objective] = [m for m in model.modules() if isinstance(m, Conditional)]
        for part in [*parts, objective]:
            part.start(x, len(train))
