"""Convolutions with residual blocks, for images of any size."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..errors import UsageError
from .convolution import Convolutional, down_by, group_norm, up_by
from .linear import Shape
from .mlp import ACTIVATIONS


class Residual(nn.Module):
    """x + conv(a(norm(conv(a(norm(x)))))): starts as the identity (He et al. 2016, Identity mappings, eq. 5)."""

    def __init__(self, channels: int, activation: str) -> None:
        super().__init__()
        act = ACTIVATIONS[activation]
        last = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.path = nn.Sequential(
            group_norm(channels),
            act(),
            nn.Conv2d(channels, channels, 3, padding=1),
            group_norm(channels),
            act(),
            last,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the block to x (B, C, H, W)."""
        out: Tensor = x + self.path(x)
        return out


class ResNet(Convolutional):
    """As `Conv`, with `blocks` residual blocks x + f(x) at each size below the image's own.

    Shapes as those of `Conv`. Group norm over the channels of one row; each block starts as the identity.

    >>> networks.ResNet((3, 5, 7), 10, width=8)(torch.zeros(2, 3, 5, 7)).shape
    torch.Size([2, 10])
    >>> networks.ResNet(10, (3, 64, 64), width=8)(torch.zeros(2, 10)).shape
    torch.Size([2, 3, 64, 64])
    """

    def __init__(
        self,
        inputs: Shape,
        outputs: Shape,
        hidden: Sequence[int] = (),
        activation: str = "silu",
        width: int = 32,
        blocks: int = 1,
        condition: int = 0,
        trailing: int = 0,
    ) -> None:
        super().__init__(inputs, outputs, hidden, activation, width, condition, trailing)
        if blocks < 0:
            raise UsageError(f"ResNet: blocks must not be negative, got {blocks}.")
        self.blocks = blocks
        self.stack(self._stage)

    def _stage(self, inputs: int, outputs: int, halved: tuple[int, int], at_image: bool) -> nn.Module:
        inner, act = (outputs if self.down else inputs), ACTIVATIONS[self.activation]
        blocks = [Residual(inner, self.activation) for _ in range(self.blocks)]
        if not self.down:
            return nn.Sequential(*blocks, group_norm(inner), act(), up_by(inputs, outputs, halved))
        before = [] if at_image else [group_norm(inputs), act()]
        return nn.Sequential(*before, down_by(inputs, outputs, halved), *blocks)
