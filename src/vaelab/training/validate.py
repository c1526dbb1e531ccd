"""The number that training is judged by: the bound at beta = 1 on rows that are not trained on."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ..memory import at_once
from ..models import Model
from ..noise import Noise, stream
from ..part import wide
from .distributed import ALONE, Ranks
from .rows import Rows

DECODED = 2**21  # values of x at most, where rows get several draws


class Validation(NamedTuple):
    """Means over rows, in nats (the model's own units): `bound` is what training is judged by."""

    bound: float
    elbo: float
    reconstruction: float
    kl: float


def validation_bound(
    model: Model, rows: Rows, *, seed: int = 0, draws: int = 4000, weighed: int = 0, ranks: Ranks = ALONE
) -> Validation:
    """Return the mean over rows of the bound, of log w, of log p(x | z), and the difference of the last two.

    The bound is the mean of log w, the ELBO; of an objective that weighs K = `weighed` draws the log of the mean of w
    over K draws or more: such a q(z | x) is no longer the one of the largest ELBO. Always at beta = 1 and always with
    the same noise, so that epochs and objectives compare; enough draws per row to make `draws` in all. Where q has no
    density the first two are the reconstruction. Rows of many values get fewer draws and go in smaller passes. Several
    processes share the rows, and all return the same.
    """
    values = math.prod(rows.data.shape[1:])
    samples = max(1, weighed, min(100, min(draws, DECODED // values) // len(rows)))
    rows = rows.drawn(seed)
    device = rows.device
    noise = Noise(stream(seed, "validation", device))
    bound, elbo, reconstruction = (wide(torch.zeros((), device=device)) for _ in range(3))
    with torch.no_grad():
        for batch in rows.in_order(at_once(model, samples * values, most=max(1, 4096 // samples)), ranks):
            terms = model.terms(
                batch.x,
                samples=samples,
                observed=batch.observed,
                condition=batch.condition,
                noise=batch.share.noise(noise),
            )
            log_w = terms.log_px if terms.log_qz is None else terms.log_w
            weighs = weighed and terms.log_qz is not None
            each = (log_w + terms.log_weights).logsumexp(0) if weighs else terms.mean(log_w)
            bound += batch.share.sum(wide(each))
            elbo += batch.share.sum(wide(terms.mean(log_w)))
            reconstruction += batch.share.sum(wide(terms.mean(terms.log_px)))
    judged, value, distortion = (ranks.total(torch.stack([bound, elbo, reconstruction])) / len(rows)).tolist()
    return Validation(judged, value, distortion, distortion - value)
