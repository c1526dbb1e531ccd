"""The number that training is judged by: the bound at beta = 1 on rows that are not trained on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..models import Model
from ..noise import Noise, stream
from ..part import wide
from .rows import Rows


class Validation(NamedTuple):
    """Means over rows, in nats (the model's own units): `bound` is what training is judged by."""

    bound: float
    elbo: float
    reconstruction: float
    kl: float


def validation_bound(model: Model, rows: Rows, *, seed: int = 0, draws: int = 4000, weighed: int = 0) -> Validation:
    """Return the mean over rows of the bound, of log w, of log p(x | z), and the difference of the last two.

    The bound is the mean of log w, the ELBO; of an objective that weighs K = `weighed` draws the log of the mean of w
    over K draws or more: such a q(z | x) is no longer the one of the largest ELBO. Always at beta = 1 and always with
    the same noise, so that epochs and objectives compare; enough draws per row to make `draws` in all. Where q has no
    density the first two are the reconstruction.
    """
    samples = max(1, weighed, min(100, draws // len(rows)))
    rows = rows.drawn(seed)
    device = rows.data.device
    noise = Noise(stream(seed, "validation", device))
    bound: Tensor | float = 0.0
    elbo: Tensor | float = 0.0
    reconstruction: Tensor | float = 0.0
    with torch.no_grad():
        for batch in rows.in_order(max(1, 4096 // samples)):
            terms = model.terms(
                batch.x, samples=samples, observed=batch.observed, condition=batch.condition, noise=noise
            )
            log_w = terms.log_px if terms.log_qz is None else terms.log_w
            weighs = weighed and terms.log_qz is not None
            bound = bound + wide((log_w + terms.log_weights).logsumexp(0) if weighs else terms.mean(log_w)).sum()
            elbo = elbo + wide(terms.mean(log_w)).sum()
            reconstruction = reconstruction + wide(terms.mean(terms.log_px)).sum()
    value, distortion = float(elbo) / len(rows), float(reconstruction) / len(rows)
    return Validation(float(bound) / len(rows), value, distortion, distortion - value)
