"""What each column adds to log p(x)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..distributions import entries
from ..memory import at_once
from ..models import Model
from ..noise import SharedNoise, stream
from ..part import inference
from ..shapes import Float
from ..training import Rows
from .evidence import DRAWS


@dataclass(frozen=True)
class PerColumn:
    """log p(x) = sum of `columns` + `latent`, in nats: E[log p(x_i | z)] under p(z | x), and -KL(p(z | x) || p(z)).

    Shapes: columns (N, *X), latent (N,). Entries that were not observed add 0.
    """

    columns: Float[Tensor, " N *X"]
    latent: Float[Tensor, " N"]

    @property
    def total(self) -> Tensor:
        """log p(x), (N,)."""
        return self.columns.flatten(1).sum(1) + self.latent


def per_column(
    model: nn.Module,
    rows: Rows,
    *,
    samples: int = 1000,
    seed: int = 0,
    units: str = "user",
    tick: Callable[[float], None] = lambda share: None,
) -> PerColumn:
    """Split log (1/K) sum_k w_k over the columns: it is sum_k v_k log w_k - sum_k v_k log (K v_k), v = w / sum w.

    The first sum falls apart into columns and log p(z) / q(z); with the second that is minus the divergence of the
    posterior from the prior. The parts sum to the bound exactly, and to that of `use.score` with as many draws.
    Noise is the same for every row. In nats of the user's units, or of the model's if `units` is "standardised".
    """
    assert isinstance(model, Model)
    rows = rows.drawn(seed, shared=True)
    block = at_once(model, samples * math.prod(rows.data.shape[1:]))
    parts, rests = [], []
    with inference(model):
        for start in range(0, len(rows), block):
            batch = rows.at(slice(start, start + block))
            noise = SharedNoise(stream(seed, "score"))
            weights, values = [], []
            for first in range(0, samples, DRAWS):  # in the portions of `evidence_rows`, so that the draws are its own
                k = min(DRAWS, samples - first)
                terms = model.terms(batch.x, samples=k, observed=batch.observed, condition=batch.condition, noise=noise)
                more = 0.0 if terms.log_weight is None else terms.log_weight.double() + math.log(k)
                weights.append(terms.log_w.double() + more)
                values.append(entries(terms.px).log_prob(terms.x).double())
            log_w, each = torch.cat(weights), torch.cat(values)
            share = log_w.softmax(0)
            if batch.observed is not None:
                each = torch.where(batch.observed, each, 0)
            weighted = (share.reshape(*share.shape, *[1] * (each.ndim - 2)) * each).sum(0)
            total = log_w.logsumexp(0) - math.log(samples)
            parts.append(weighted)
            rests.append(total - weighted.flatten(1).sum(1))
            tick(min(1.0, (start + block) / len(rows)))
    columns, latent = torch.cat(parts), torch.cat(rests)
    likelihood = getattr(model, "likelihood", None)
    if units == "user" and not getattr(likelihood, "discrete", True):
        columns = columns + rows.log_det_entries
    return PerColumn(columns, latent)
