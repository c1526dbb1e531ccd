"""New rows from the model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data import Schema
from ..models import Model
from ..noise import Noise, stream
from ..part import inference

BLOCK = 4096  # rows in one pass


def generate(
    model: nn.Module, schema: Schema, n: int, *, means: bool = False, temperature: float = 1.0, seed: int = 0
) -> Tensor:
    """z ~ p(z), then x ~ p(x | z): n rows in the user's units, (n, *schema.shape), float64.

    With `means`, E[x | z] in place of the draw of x: smoother, and no sample of the model. Raises UsageError for n < 0.
    """
    assert isinstance(model, Model)
    noise = Noise(stream(seed, "generate"))
    with inference(model):
        blocks = [min(BLOCK, n - start) for start in range(0, n, BLOCK)] or [n]
        rows = [model.generate(size, means=means, temperature=temperature, noise=noise) for size in blocks]
        return schema.decode(torch.cat(rows), round=not means)
