"""An affine map, for linear models with exact answers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..part import Part
from ..shapes import Float
from .affine import Affine

Shape = int | Sequence[int]


def as_shape(shape: Shape) -> tuple[int, ...]:
    """Return a shape as a tuple: 20 is (20,)."""
    return (shape,) if isinstance(shape, int) else tuple(shape)


def flatten(x: Tensor, shape: tuple[int, ...], condition: Tensor | None) -> Tensor:
    """Return (*lead, prod(shape)), with the condition, spread over the leading dimensions, appended."""
    flat = x.flatten(-len(shape)) if shape else x.unsqueeze(-1)
    if condition is None:
        return flat
    return torch.cat([flat, condition.to(flat.dtype).expand(*flat.shape[:-1], condition.shape[-1])], -1)


class Linear(Part):
    """y = W [x, condition] + b.

    Shapes: x (*lead, *inputs), condition (*lead or fewer, condition), y (*lead, *outputs).

    >>> networks.Linear(2, (3, 4))(torch.zeros(7, 2)).shape
    torch.Size([7, 3, 4])
    """

    def __init__(self, inputs: Shape, outputs: Shape, condition: int = 0) -> None:
        super().__init__()
        self.inputs, self.outputs, self.condition = as_shape(inputs), as_shape(outputs), condition
        self.map = Affine(math.prod(self.inputs) + condition, math.prod(self.outputs))

    def forward(self, x: Float[Tensor, ...], condition: Float[Tensor, "*lead C"] | None = None) -> Float[Tensor, ...]:
        """Map x of shape (*lead, *inputs) to (*lead, *outputs)."""
        return self.map(flatten(x, self.inputs, condition)).unflatten(-1, self.outputs)
