"""Strided convolutions, for images of any size."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..errors import UsageError
from .convolution import Convolutional, down_by, group_norm, up_by
from .linear import Shape
from .mlp import ACTIVATIONS


class Conv(Convolutional):
    """Halve an image (or double a small one) until it is at most 4x4: convolutions, activations, dense layers.

    Shapes: an image (*lead, C, H, W) to a vector, or a vector to an image of exactly its shape; any height, width and
    number of channels, also (*lead, 2, C, H, W) and, with trailing=1, (*lead, C, H, W, categories). Channels are
    `width`, 2 width, 4 width, ...; `hidden` are the dense layers at the small end; `norm` is "group" (Wu & He 2018),
    worth a nat of MNIST after three minutes, or "none".

    >>> networks.Conv((3, 5, 7), 10, hidden=(20,))(torch.zeros(2, 3, 5, 7)).shape
    torch.Size([2, 10])
    >>> networks.Conv(10, (2, 3, 5, 7))(torch.zeros(4, 2, 10)).shape
    torch.Size([4, 2, 2, 3, 5, 7])
    """

    def __init__(
        self,
        inputs: Shape,
        outputs: Shape,
        hidden: Sequence[int] = (),
        activation: str = "silu",
        width: int = 16,
        norm: str = "group",
        condition: int = 0,
        trailing: int = 0,
    ) -> None:
        super().__init__(inputs, outputs, hidden, activation, width, condition, trailing)
        if norm not in ("none", "group"):
            raise UsageError(f"Conv: norm is none or group, got {norm!r}.")
        self.norm = norm
        self.stack(self._stage)

    def _stage(self, inputs: int, outputs: int, halved: tuple[int, int], at_image: bool) -> nn.Module:
        act = ACTIVATIONS[self.activation]
        if self.down:
            norm = [group_norm(outputs)] if self.norm == "group" else []
            return nn.Sequential(down_by(inputs, outputs, halved), *norm, act())
        norm = [group_norm(inputs)] if self.norm == "group" else []
        return nn.Sequential(*norm, act(), up_by(inputs, outputs, halved))
