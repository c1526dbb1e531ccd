"""How far generated rows are from rows that were held out, beside how far the training rows are from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Dataset
from ..errors import UsageError
from ..evaluation import Estimate, Features, SampleMeasures, compare_samples, median_distance, nearer_share
from ..models import Model
from ..noise import Noise, stream
from ..part import inference
from ..training import Rows
from .generate import BLOCK


@dataclass(frozen=True)
class Measures:
    """What tells generated rows, and training rows, from rows held out; the second is what a perfect model would get.

    `rows` were generated, and as many training rows are the reference; None where those are not known. `nearer` is the
    share of generated rows nearer to a training row than to any of as many held-out ones: 0.5 for new rows, 1 for
    copies.
    """

    rows: int
    held: int
    split: str
    features: str
    generated: SampleMeasures
    reference: SampleMeasures | None
    nearer: Estimate | None

    def json(self) -> dict[str, Any]:
        """Return the document that `vaelab measure --json` prints."""
        return asdict(self)


def measure(
    model: nn.Module, train: Dataset | None, held: Dataset, *, samples: int = 2000, split: str = "given", seed: int = 0
) -> Measures:
    """Compare z ~ p(z), x ~ p(x | z) with held-out rows, and training rows with them, in the units of the model.

    At most `samples` rows of each kind; where training rows are known, as many are generated as there are of them, so
    that both comparisons are of sets of equal sizes. Generated rows lack the entries that real rows lack (right where
    what is missing does not depend on what it is), and are given the conditions of training rows, else of held ones.
    Raises UsageError for fewer than 20 rows of a kind.
    """
    if samples < 1:
        raise UsageError(f"measure: samples must be at least 1, got {samples}.")
    real = None if train is None else some_rows(train, samples, seed)
    others = some_rows(held, samples, seed)
    number = samples if real is None else len(real)
    pattern = others if real is None else real
    features = Features(filled(pattern))
    at_new, at_held = features(generated(model, pattern, number, seed)), features(filled(others))
    at_real = None if real is None else features(filled(real))
    bandwidth = median_distance(at_held if at_real is None else at_real)
    fewest = None if at_real is None else min(len(at_held), len(at_real))
    return Measures(
        rows=number,
        held=len(others),
        split=split,
        features=str(features),
        generated=compare_samples(at_held, at_new, bandwidth, seed=seed),
        reference=None if at_real is None else compare_samples(at_held, at_real, bandwidth, seed=seed),
        nearer=None if at_real is None else nearer_share(at_new, at_real[:fewest], at_held[:fewest]),
    )


def some_rows(data: Dataset, most: int, seed: int) -> Rows:
    """Return at most this many rows in random order, binarised once."""
    order = torch.randperm(len(data), generator=stream(seed, "measured rows"))
    return Rows(data.take(order[:most]), dtype=torch.float64).drawn(seed)


def filled(rows: Rows) -> Tensor:
    """Return x with 0 where it was not observed."""
    return rows.data if rows.observed is None else torch.where(rows.observed, rows.data, 0)


def generated(model: nn.Module, like: Rows, number: int, seed: int) -> Tensor:
    """Return rows of the model as the user would get them, in its own units, with masks and conditions as `like`."""
    assert isinstance(model, Model)
    pick = torch.randint(len(like), (number,), generator=stream(seed, "masks and conditions"))
    noise, schema, parts = Noise(stream(seed, "measure")), like.schema, []
    weights = next(model.parameters())
    with inference(model):
        for index in pick.split(BLOCK):
            given = None if like.condition is None else like.condition[index].to(weights)
            rows = schema.decode(model.generate(len(index), condition=given, noise=noise).cpu(), round=True)
            parts.append(schema.encode(rows, Noise(stream(seed, "grey")), torch.float64))
    x = torch.cat(parts)
    return x if like.observed is None else torch.where(like.observed[pick], x, 0)
