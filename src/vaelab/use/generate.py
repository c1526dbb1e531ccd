"""New rows from the model."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..data import Schema
from ..errors import UsageError
from ..memory import at_once
from ..models import Model
from ..noise import Noise, stream
from ..part import inference

BLOCK = 4096  # rows in one pass, at most


def generate_blocks(
    model: nn.Module,
    schema: Schema,
    n: int,
    *,
    means: bool = False,
    temperature: float = 1.0,
    seed: int = 0,
    condition: Tensor | None = None,
) -> Iterator[Tensor]:
    """Yield the rows of `generate` in blocks, so that any number of them takes the memory of one block."""
    assert isinstance(model, Model)
    if n < 0:
        raise UsageError(f"generate: n must not be negative, got {n}.")
    if not 0 <= temperature < float("inf"):
        raise UsageError(f"generate: temperature must be at least 0, got {temperature:g}.")
    noise = Noise(stream(seed, "generate"))
    block = at_once(model, schema.dims, most=BLOCK)
    for start in range(0, max(n, 1), block):  # no rows are one empty block
        with inference(model):
            size = min(block, n - start)
            given = None if condition is None else condition.to(next(model.parameters())).expand(size, -1)
            rows = model.generate(size, condition=given, means=means, temperature=temperature, noise=noise)
        yield schema.decode(rows, round=not means)


def generate(
    model: nn.Module,
    schema: Schema,
    n: int,
    *,
    means: bool = False,
    temperature: float = 1.0,
    seed: int = 0,
    condition: Tensor | None = None,
) -> Tensor:
    """z ~ p(z), then x ~ p(x | z): n rows in the user's units, (n, *schema.shape), float64.

    With `means`, E[x | z] in place of the draw of x: smoother, and no sample of the model. `condition` (C,) is given to
    every row. Raises UsageError for n < 0.
    """
    return torch.cat(
        list(generate_blocks(model, schema, n, means=means, temperature=temperature, seed=seed, condition=condition))
    )
