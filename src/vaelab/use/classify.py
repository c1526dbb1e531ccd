"""Which class rows have, under a model that knows classes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..data import Dataset
from ..errors import UsageError
from ..evaluation import Estimate
from ..memory import at_once
from ..models import SemiSupervised
from ..part import exact, inference
from ..training import Rows
from .encode import BLOCK


def classify(model: nn.Module, data: Dataset, *, seed: int = 0) -> Tensor:
    """q(y | x): for rows of x, (N, classes) float64. Raises UsageError for a model without classes."""
    if not isinstance(model, SemiSupervised):
        raise UsageError(f"a {type(model).__name__} knows no classes. Train with --recipe m2.")
    rows, model = Rows(data, dtype=torch.float64).drawn(seed, shared=True), exact(model)
    some = at_once(model, data.schema.dims, most=BLOCK)
    with inference(model):
        return torch.cat([model.classify(batch.x, batch.observed).probs for batch in rows.in_order(some)])


def accuracy(model: nn.Module, data: Dataset, *, seed: int = 0) -> Estimate | None:
    """The share of the labelled rows whose likeliest class is their label; None where no row has a label it knows."""
    if data.labels is None or not isinstance(model, SemiSupervised):
        return None
    names, words = np.array(model.classes), data.labels.astype(str)
    right = names[classify(model, data, seed=seed).argmax(1).numpy()] == words
    known = np.isin(words, names)
    return Estimate.of(torch.from_numpy(right[known].astype(np.float64))) if known.any() else None
