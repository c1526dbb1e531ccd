"""log p(x) from below, row by row: importance weighting over many draws, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..memory import at_once
from ..models import Model, Terms
from ..noise import Noise, RowNoise, SharedNoise, stream
from ..part import inference
from ..shapes import Float
from ..training import Batch, Rows

DRAWS = 100  # in one pass; fixed, so that a row's noise does not depend on the memory at hand


@dataclass(frozen=True)
class RowValues:
    """Per row, (N,) float64, in nats of the model's units.

    elbo = mean over draws of log w (the decoder's log p(x | z) where q has no density), evidence = log mean w,
    reconstruction = elbo + kl, kl (N, D) per latent dimension (None where q has no density), mean (N, D) = E_q[z],
    all over the same draws.
    """

    elbo: Float[Tensor, " N"]
    evidence: Float[Tensor, " N"] | None
    reconstruction: Float[Tensor, " N"]
    kl: Float[Tensor, "N D"] | None
    mean: Float[Tensor, "N Z"]
    closed_form: bool


def evidence_rows(
    model: nn.Module,
    rows: Rows,
    *,
    samples: int = 5000,
    seed: int = 0,
    shared: bool = False,
    tick: Callable[[float], None] = lambda share: None,
) -> RowValues:
    """Return bound, evidence and their split for each row (Burda et al. 2016, eq. 8, with K = `samples`).

    Noise belongs to the row (or, with `shared`, is the same for every row: then a row's value depends on nothing but
    the row), so no figure depends on the size of a batch. Memory is bounded: rows and draws go in blocks.
    """
    if samples < 1:
        raise UsageError(f"samples must be at least 1, got {samples}.")
    assert isinstance(model, Model)
    rows = rows.drawn(seed, shared=shared)
    draws = min(samples, DRAWS)
    block = at_once(model, draws * math.prod(rows.data.shape[1:]))
    parts: list[RowValues] = []
    with inference(model):
        start = 0
        for batch in rows.in_order(block):
            index = range(start, start + len(batch.x))
            parts.append(_block(model, batch, index, samples, draws, seed, shared))
            start += len(batch.x)
            tick(start / len(rows))
    return _joined(parts)


def _block(model: Model, batch: Batch, index: range, samples: int, draws: int, seed: int, shared: bool) -> RowValues:
    """Accumulate over blocks of draws: sum of log w, and log sum w by a running log-sum-exp."""
    n = len(batch.x)
    total = total_px = torch.zeros(n, dtype=torch.float64, device=batch.x.device)
    log_sum = torch.full((n,), -math.inf, dtype=torch.float64, device=batch.x.device)
    mean = torch.zeros(n, 1, dtype=torch.float64, device=batch.x.device)
    kl_total: Tensor | None = None
    terms: Terms | None = None
    shared_noise = SharedNoise(stream(seed, "score"))
    for number, first in enumerate(range(0, samples, draws)):
        k = min(draws, samples - first)
        noise: Noise = shared_noise if shared else RowNoise(seed, index, number)
        terms = model.terms(batch.x, samples=k, observed=batch.observed, condition=batch.condition, noise=noise)
        mean = mean + k / samples * terms.mean_z.double()
        total_px = total_px + k * terms.mean(terms.log_px.double())
        if terms.log_qz is None:
            continue
        log_w = terms.log_w.double()
        total = total + k * terms.mean(log_w)
        if terms.log_weight is not None:
            log_w = log_w + terms.log_weight.double() + math.log(k)
        log_sum = torch.logaddexp(log_sum, log_w.logsumexp(0))
        kl = k * terms.mean(torch.cat(list(terms.kl.values()), -1).double())
        kl_total = kl if kl_total is None else kl_total + kl
    assert terms is not None
    if kl_total is None:
        return RowValues(total_px / samples, None, total_px / samples, None, mean, False)
    kl_rows, elbo = kl_total / samples, total / samples
    return RowValues(elbo, log_sum - math.log(samples), elbo + kl_rows.sum(1), kl_rows, mean, terms.closed_form)


def _joined(parts: list[RowValues]) -> RowValues:
    def cat(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    has = parts[0].kl is not None
    return RowValues(
        cat("elbo"),
        cat("evidence") if has else None,
        cat("reconstruction"),
        cat("kl") if has else None,
        cat("mean"),
        parts[0].closed_form,
    )
