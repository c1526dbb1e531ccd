"""Where rows lie in the latent space, and what lies at a place of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..data import Dataset, Schema
from ..errors import UsageError
from ..memory import at_once
from ..models import Model
from ..models.vae import Decodes, centre
from ..noise import SharedNoise, stream
from ..part import exact, inference
from ..training import Rows

BLOCK = 1024  # rows in one pass, at most
LAYERED = 32  # draws of the layers that others are drawn after


@dataclass(frozen=True, eq=False)
class Codes:
    """E[z] and the deviations of z under q(z | x): mean and deviation (N, D) float64, dimensions side by side."""

    mean: Tensor
    deviation: Tensor

    def __len__(self) -> int:
        return len(self.mean)


def encode(model: nn.Module, data: Dataset, *, seed: int = 0) -> Codes:
    """E_q[z] and sd_q[z], q = q(z | x): for rows of x, (N, D) each, float64; exact, no draw for a single layer.

    `seed` matters where rows are binarised, and to the lower of several layers: by the same noise for every row.
    """
    assert isinstance(model, Model)
    rows, model = Rows(data, dtype=torch.float64).drawn(seed, shared=True), exact(model)
    samples = LAYERED if hasattr(model, "sizes") else 1
    means, deviations = [torch.empty(0, 0)], [torch.empty(0, 0)]
    with inference(model):
        for batch in rows.in_order(at_once(model, samples * data.schema.dims, most=BLOCK)):
            noise = SharedNoise(stream(seed, "encode"))
            terms = model.terms(
                batch.x, samples=samples, observed=batch.observed, condition=batch.condition, noise=noise
            )
            means.append(terms.mean_z)
            deviations.append(terms.variance_z.sqrt())
    return Codes(torch.cat(means[1:]), torch.cat(deviations[1:]))


def decode(model: nn.Module, schema: Schema, z: Tensor, condition: Tensor | None = None) -> Tensor:
    """E[x | z]: for places z (N, D), in the user's units, (N, *schema.shape), float64.

    Several layers stand side by side, as `encode` gives them; `condition` (C,) is given to every row.
    Raises UsageError for another number of dimensions.
    """
    if not isinstance(model, Decodes):
        raise UsageError(f"a {type(model).__name__} has no latent space to decode from. Use generate.")
    latent_dim = model.latent_dim
    if z.ndim != 2 or z.shape[1] != latent_dim:
        raise UsageError(f"codes have shape {tuple(z.shape)}, the model needs (rows, {latent_dim}).")
    model = exact(model)
    with inference(model):
        blocks = z.detach().cpu().double().split(at_once(model, schema.dims, most=BLOCK))
        rows = [centre(model.decode(some, given(condition, some))) for some in blocks]
        return schema.decode(torch.cat(rows))


def given(condition: Tensor | None, rows: Tensor) -> Tensor | None:
    """Return the condition (C,) of every one of these rows, (N, C)."""
    return None if condition is None else condition.to(rows).expand(len(rows), -1)
