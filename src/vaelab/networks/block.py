"""Convolutions between images of any size, for any number of leading dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..part import Part
from ..shapes import Float
from .affine import Affine


class Block(Part):
    """y = r(x) + conv(a(... r(x))), a residual bottleneck between two image shapes (Child 2021, figure 3).

    Shapes: x (*lead, C, H, W) to y (*lead, C', H', W'). r makes the image larger (nearest) before the convolutions, or
    smaller (average) after them. A condition (*lead or fewer, condition) is added to every pixel inside.

    >>> networks.Block((3, 7, 7), (5, 4, 4), width=11)(torch.zeros(2, 13, 3, 7, 7)).shape
    torch.Size([2, 13, 5, 4, 4])
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], width: int, condition: int = 0) -> None:
        super().__init__()
        self.inputs, self.outputs, self.width, self.condition = tuple(inputs), tuple(outputs), width, condition
        given, made = self.inputs[0], self.outputs[0]
        self.enter = nn.Conv2d(given, width, 1)
        self.middle = nn.Conv2d(width, width, 3, padding=1)
        self.leave = nn.Conv2d(width, made, 1)
        self.skip = nn.Identity() if given == made else nn.Conv2d(given, made, 1)
        self.beside = Affine(condition, width) if condition else None

    def forward(self, x: Float[Tensor, ...], condition: Float[Tensor, "*lead C"] | None = None) -> Float[Tensor, ...]:
        """Map images of shape `inputs` to images of shape `outputs`."""
        lead, size = x.shape[:-3], self.outputs[1:]
        if math.prod(size) > math.prod(self.inputs[1:]):
            flat = nn.functional.interpolate(x.reshape(-1, *x.shape[-3:]), size=size)
        else:
            flat = x.reshape(-1, *x.shape[-3:])
        inner = self.enter(nn.functional.gelu(flat))
        if condition is not None and self.beside is not None:
            shift: Tensor = self.beside(condition.to(x.dtype)).expand(*lead, self.width)
            inner = inner + shift.reshape(-1, self.width, 1, 1)
        inner = self.middle(nn.functional.gelu(inner))
        flat = self.skip(flat) + self.leave(nn.functional.gelu(inner))
        if tuple(flat.shape[-2:]) != size:
            flat = nn.functional.adaptive_avg_pool2d(flat, (size[0], size[1]))
        return flat.reshape(*lead, *self.outputs)


class Pixels(Part):
    """y = W x + b at each pixel: a 1 x 1 convolution that reads its image flat.

    Shapes: x (*lead, C * H * W), `inputs` = (C, H, W), to y (*lead, *outputs), H and W at `axis` of outputs.
    A condition (*lead or fewer, condition) is added to every pixel.

    >>> networks.Pixels((3, 7, 4), (2, 5, 7, 4), axis=2)(torch.zeros(11, 3 * 7 * 4)).shape
    torch.Size([11, 2, 5, 7, 4])
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], axis: int = 1, condition: int = 0) -> None:
        super().__init__()
        self.inputs, self.outputs, self.axis, self.condition = tuple(inputs), tuple(outputs), axis, condition
        made = [n for i, n in enumerate(self.outputs) if i not in (axis, axis + 1)]
        self.map = Affine(self.inputs[0] + condition, math.prod(made))
        self.made = made

    def forward(self, x: Float[Tensor, ...], condition: Float[Tensor, "*lead C"] | None = None) -> Float[Tensor, ...]:
        """Map flat images to `outputs`."""
        pixels = x.unflatten(-1, self.inputs).movedim(-3, -1)  # (*lead, H, W, C)
        if condition is not None and self.condition:
            spread = condition.to(x.dtype)[..., None, None, :].expand(*pixels.shape[:-1], self.condition)
            pixels = torch.cat([pixels, spread], -1)
        y: Tensor = self.map(pixels).unflatten(-1, self.made)
        lead = x.ndim - 1
        return y.movedim((lead, lead + 1), (lead + self.axis, lead + self.axis + 1))


class Learned(Part):
    """y = b + W condition: what does not depend on x, such as the state above the top layer.

    Shapes: condition (*lead, condition), y (*lead, *outputs); without a condition y has the shape `outputs`.

    >>> networks.Learned((3, 4), condition=2)(None, torch.zeros(7, 2)).shape
    torch.Size([7, 3, 4])
    """

    def __init__(self, outputs: Sequence[int], condition: int = 0) -> None:
        super().__init__()
        self.outputs, self.condition = tuple(outputs), condition
        self.value = nn.Parameter(torch.zeros(self.outputs))
        self.map = Affine(condition, math.prod(self.outputs), bias=False) if condition else None

    def forward(self, x: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        """Return b, or b + W condition."""
        if condition is None or self.map is None:
            return self.value
        return self.value + self.map(condition.to(self.value.dtype)).unflatten(-1, self.outputs)
