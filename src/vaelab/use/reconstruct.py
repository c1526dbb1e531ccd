"""What the model makes of given rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..models import Model
from ..models.vae import centre
from ..noise import SharedNoise, stream
from ..part import inference
from ..training import Rows


def reconstruct(model: nn.Module, rows: Rows, *, samples: int = 32, seed: int = 0) -> Tensor:
    """E_q[E[x | z]], z ~ q(z | x): for rows of x, in the user's units, (N, *schema.shape), float64.

    The average of `samples` draws, their noise the same for every row, so a row's result does not depend on the others.
    """
    assert isinstance(model, Model)
    out = []
    with inference(model):
        for batch in rows.drawn(seed).in_order(256):
            noise = SharedNoise(stream(seed, "reconstruct"))
            terms = model.terms(
                batch.x, samples=samples, observed=batch.observed, condition=batch.condition, noise=noise
            )
            out.append(rows.schema.decode(centre(terms.px).mean(0)))
    return torch.cat(out)
