"""What the model makes of given rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data import Dataset
from ..models import Model
from ..models.vae import centre
from ..noise import SharedNoise, stream
from ..part import exact, inference
from ..training import Rows


def reconstruct(model: nn.Module, data: Dataset, *, samples: int = 32, seed: int = 0) -> Tensor:
    """E_q[E[x | z]], z ~ q(z | x): for rows of x, in the user's units, (N, *schema.shape), float64.

    The average of `samples` draws, their noise the same for every row, so a row's result does not depend on the others.
    """
    assert isinstance(model, Model)
    rows, model = Rows(data, dtype=torch.float64).drawn(seed, shared=True), exact(model)
    out = []
    with inference(model):
        for batch in rows.in_order(256):
            noise = SharedNoise(stream(seed, "reconstruct"))
            terms = model.terms(
                batch.x, samples=samples, observed=batch.observed, condition=batch.condition, noise=noise
            )
            out.append(data.schema.decode(data.schema.centre(centre(terms.px))))
    return torch.cat(out)
