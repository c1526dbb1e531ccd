"""Convolutions between an image of any size and a vector: down to about 4x4 pixels, or back up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..errors import UsageError, suggest
from ..part import Part
from ..shapes import Float
from .affine import Affine
from .linear import Shape, as_shape
from .mlp import ACTIVATIONS

SMALLEST = 4  # an image is halved as long as a side is longer than this


def sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Return the sizes that an image is brought to, itself first: a side above 4 is halved, rounded up."""
    out = [(height, width)]
    while max(out[-1]) > SMALLEST:
        h, w = out[-1]
        out.append(((h + 1) // 2 if h > SMALLEST else h, (w + 1) // 2 if w > SMALLEST else w))
    return out


def widths(width: int, levels: int) -> list[int]:
    """Return the channels at each size after the first: width, 2 width, 4 width, 4 width, ..."""
    return [width * min(2**level, 4) for level in range(levels)]


class Convolutional(Part):
    """What `Conv` and `ResNet` share: which way they go, the stages between sizes, the dense layers.

    An input of three or more dimensions is an image (*lead, *channels, H, W, *trailing) and is brought down: stages,
    then dense layers on what is left of it and the condition. Otherwise the output is the image: dense layers on input
    and condition, then stages up, each cut to its exact size. `trailing` dimensions stand after H and W (categories).
    """

    def __init__(
        self,
        inputs: Shape,
        outputs: Shape,
        hidden: Sequence[int],
        activation: str,
        width: int,
        condition: int,
        trailing: int,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.inputs, self.outputs, self.hidden = as_shape(inputs), as_shape(outputs), tuple(hidden)
        self.activation, self.width, self.condition, self.trailing = activation, width, condition, trailing
        if activation not in ACTIVATIONS:
            raise UsageError(f"{name}: unknown activation {activation!r}.{suggest(activation, tuple(ACTIVATIONS))}")
        if width < 1 or min(self.hidden, default=1) < 1:
            raise UsageError(f"{name}: widths must be at least 1, got width={width} and hidden={self.hidden}.")
        self.down = len(self.inputs) >= 3
        image = self.inputs if self.down else self.outputs
        self._split = len(image) - trailing
        if self._split < 3:
            raise UsageError(
                f"{name}: needs an image (C, H, W) at one end, got {self.inputs} and {self.outputs}. Use --network mlp."
            )
        self.ladder = sizes(*image[self._split - 2 : self._split])
        if len(self.ladder) == 1:  # small as it is; its pixels still meet in one stage
            self.ladder = self.ladder * 2
        self.channels = [
            math.prod(image[: self._split - 2]) * math.prod(image[self._split :]),
            *widths(width, len(self.ladder) - 1),
        ]
        features = self.channels[-1] * math.prod(self.ladder[-1])
        ends = (features, math.prod(self.outputs)) if self.down else (math.prod(self.inputs), features)
        steps = [ends[0] + condition, *self.hidden, ends[1]]
        act = ACTIVATIONS[activation]
        dense: list[nn.Module] = []
        for fan_in, fan_out in pairwise(steps):
            dense += [Affine(fan_in, fan_out), act()]
        self.dense = nn.Sequential(*dense[:-1])

    def stack(self, stage: Callable[[int, int, tuple[int, int], bool], nn.Module]) -> None:
        """Make the stages: stage(channels in, channels out, which sides change, whether it is at the image)."""
        pairs = list(zip(self.ladder, self.ladder[1:], self.channels, self.channels[1:]))
        stages = []
        for i, (large, small, outer, inner) in enumerate(pairs if self.down else pairs[::-1]):
            halved = (1 + (large[0] != small[0]), 1 + (large[1] != small[1]))
            at_image = i == (0 if self.down else len(pairs) - 1)
            stages.append(stage(outer, inner, halved, at_image) if self.down else stage(inner, outer, halved, at_image))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Float[Tensor, ...], condition: Float[Tensor, "*lead C"] | None = None) -> Float[Tensor, ...]:
        """Map x of shape (*lead, *inputs) to (*lead, *outputs)."""
        lead = x.shape[: x.ndim - len(self.inputs)]
        x = x.reshape(-1, *self.inputs)
        given = None if condition is None else condition.to(x.dtype).expand(*lead, condition.shape[-1]).flatten(0, -2)
        if self.down:
            x = self._as_channels(x)
            for stage in self.stages:
                x = stage(x)
        x = self.dense(x.flatten(1) if given is None else torch.cat([x.flatten(1), given], 1))
        if not self.down:
            x = x.unflatten(1, (self.channels[-1], *self.ladder[-1]))
            for stage, (height, width) in zip(self.stages, self.ladder[-2::-1]):
                x = stage(x)[..., :height, :width]
            x = self._from_channels(x)
        return x.reshape(*lead, *self.outputs)

    def _as_channels(self, x: Tensor) -> Tensor:
        """(B, *channels, H, W, *trailing) to (B, all of these channels, H, W)."""
        after = range(self._split + 1, x.ndim)
        x = x.permute(0, *range(1, self._split - 1), *after, self._split - 1, self._split)
        return x.flatten(1, -3)

    def _from_channels(self, x: Tensor) -> Tensor:
        front, back = self.outputs[: self._split - 2], self.outputs[self._split :]
        x = x.reshape(-1, *front, *back, *self.ladder[0])
        n = x.ndim
        return x.permute(0, *range(1, len(front) + 1), n - 2, n - 1, *range(len(front) + 1, n - 2))


def down_by(inputs: int, outputs: int, halved: tuple[int, int]) -> nn.Module:
    """Return a convolution over 3x3 pixels that halves, rounded up, the sides that are to be halved."""
    return nn.Conv2d(inputs, outputs, 3, stride=halved, padding=1)


def up_by(inputs: int, outputs: int, halved: tuple[int, int]) -> nn.Module:
    """Return the transposed convolution that doubles these sides: 4 pixels wide there, so that all weigh alike."""
    kernel = (4 if halved[0] == 2 else 3, 4 if halved[1] == 2 else 3)
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride=halved, padding=1)


def group_norm(channels: int) -> nn.Module:
    """Return a norm over at most 8 groups of 4 channels or more, of one row alone: no row depends on its batch."""
    return nn.GroupNorm(math.gcd(channels, min(8, max(1, channels // 4))), channels)
