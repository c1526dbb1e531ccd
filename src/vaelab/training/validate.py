"""The number that training is judged by: the bound at beta = 1 on rows that are not trained on."""

from __future__ import annotations

import torch

from ..models import Model
from ..noise import Noise, stream
from ..part import wide
from .distributed import ALONE, Ranks
from .rows import Rows


def validation_bound(
    model: Model, rows: Rows, *, seed: int = 0, draws: int = 4000, ranks: Ranks = ALONE
) -> tuple[float, float, float]:
    """Return the mean over rows of log w, of log p(x | z), and their difference, in nats (the model's own units).

    Always at beta = 1 and always with the same noise, so that epochs and objectives compare; enough draws per row to
    make `draws` in all. Where q has no density the first is the reconstruction, and so is the second. Several processes
    share the rows, and all return the same.
    """
    samples = max(1, min(100, draws // len(rows)))
    rows = rows.drawn(seed)
    device = rows.device
    noise = Noise(stream(seed, "validation", device))
    bound, reconstruction = (wide(torch.zeros((), device=device)) for _ in range(2))
    with torch.no_grad():
        for batch in rows.in_order(max(1, 4096 // samples), ranks):
            terms = model.terms(
                batch.x,
                samples=samples,
                observed=batch.observed,
                condition=batch.condition,
                noise=batch.share.noise(noise),
            )
            log_w = terms.log_px if terms.log_qz is None else terms.log_w
            bound += batch.share.sum(wide(terms.mean(log_w)))
            reconstruction += batch.share.sum(wide(terms.mean(terms.log_px)))
    value, distortion = (ranks.total(torch.stack([bound, reconstruction])) / len(rows)).tolist()
    return value, distortion, distortion - value
