"""A multilayer perceptron between any two shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ..errors import UsageError, suggest
from ..part import Part
from ..shapes import Float
from .affine import Affine
from .linear import Shape, as_shape, flatten

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
}


class MLP(Part):
    """y = W_n a(... a(W_1 [x, condition] + b_1) ...) + b_n: affine maps with an activation between them.

    Shapes: x (*lead, *inputs), condition (*lead or fewer, condition), y (*lead, *outputs); inputs and outputs are a
    number or a shape, `hidden` the widths between them. Any number of leading dimensions, so (K, B, Z) decodes at once.

    >>> networks.MLP((3, 4), 10, hidden=(20,))(torch.zeros(7, 3, 4)).shape
    torch.Size([7, 10])
    """

    def __init__(
        self,
        inputs: Shape,
        outputs: Shape,
        hidden: Sequence[int] = (500,),
        activation: str = "relu",
        condition: int = 0,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise UsageError(f"MLP: unknown activation {activation!r}.{suggest(activation, tuple(ACTIVATIONS))}")
        if min(hidden, default=1) < 1:
            raise UsageError(f"MLP: hidden widths must be at least 1, got {tuple(hidden)}.")
        self.inputs, self.outputs, self.hidden = as_shape(inputs), as_shape(outputs), tuple(hidden)
        self.activation, self.condition = activation, condition
        widths = [math.prod(self.inputs) + condition, *self.hidden, math.prod(self.outputs)]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [Affine(fan_in, fan_out), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Float[Tensor, ...], condition: Float[Tensor, "*lead C"] | None = None) -> Float[Tensor, ...]:
        """Map x of shape (*lead, *inputs) to (*lead, *outputs)."""
        return self.layers(flatten(x, self.inputs, condition)).unflatten(-1, self.outputs)
