"""What the missing entries of a row are, given those that were observed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data import Dataset
from ..errors import UsageError
from ..evaluation import NO_DENSITY
from ..models import Model
from ..models.vae import centre
from ..noise import SharedNoise, stream
from ..part import exact, inference
from ..training import Rows

NUMBERS = 2**20  # values of x decoded in one pass


def expected(model: nn.Module, data: Dataset, *, samples: int, seed: int = 0) -> Tensor:
    """E[x | x_observed] = sum_k w_k E[x | z_k] / sum_k w_k: (N, *schema.shape) float64, in the user's units.

    z_k ~ q(z | x), w_k = p(x_observed, z_k) / q(z_k | x), K = `samples`: self-normalised importance weighting (Mattei &
    Frellsen 2019, eq. 12), its noise the same for every row. Raises UsageError where q has no density.
    """
    assert isinstance(model, Model)
    rows, model = Rows(data, dtype=torch.float64).drawn(seed, shared=True), exact(model)
    block = max(1, NUMBERS // (samples * data.schema.dims))
    out = []
    with inference(model):
        for batch in rows.in_order(block):
            noise = SharedNoise(stream(seed, "impute"))
            terms = model.terms(batch.x, samples=samples, observed=batch.observed, noise=noise)
            if terms.log_qz is None:
                raise UsageError(f"this model cannot weigh what may be missing: {NO_DENSITY}.")
            weights = (terms.log_w + terms.log_weights).softmax(0)
            out.append(torch.einsum("kb,kb...->b...", weights, centre(terms.px)))
    return data.schema.decode(torch.cat(out))
