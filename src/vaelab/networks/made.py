"""A network whose outputs for entry i read the entries before i only."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UsageError
from ..part import Part
from ..shapes import Float
from .affine import Affine, affine


class MADE(Part):
    """y_i = f_i(z_<i, context): one hidden layer with masked weights (Germain et al. 2015, eq. 8-13).

    Entry i has the number i + 1 (D - i with `reverse`); a hidden unit of number n, 0 to D - 1, reads entries of
    numbers up to n, and is read by outputs of entries of higher numbers. Units of number 0 read the context alone.
    Shapes: z (*lead, D), context (*lead or fewer, context), y (*lead, D, outputs).

    >>> made, z = networks.MADE(3, 2, hidden=16), torch.randn(3)
    >>> jacobian = torch.autograd.functional.jacobian(lambda z: made(z)[:, 0], z)
    >>> bool((jacobian.triu() == 0).all())
    True
    """

    into: Tensor
    out: Tensor

    def __init__(self, dims: int, outputs: int, hidden: int = 64, context: int = 0, reverse: bool = False) -> None:
        super().__init__()
        if min(dims, outputs, hidden) < 1:
            raise UsageError(f"MADE: dims, outputs and hidden must be at least 1, got {dims}, {outputs}, {hidden}.")
        self.dims, self.outputs, self.hidden, self.context, self.reverse = dims, outputs, hidden, context, reverse
        self.first, self.last = Affine(dims, hidden), Affine(hidden, dims * outputs)
        self.read = Affine(context, hidden, bias=False) if context else None
        number = torch.arange(dims, 0, -1) if reverse else torch.arange(1, dims + 1)
        unit = torch.arange(hidden) % dims
        self.register_buffer("into", number <= unit[:, None], persistent=False)
        self.register_buffer("out", (unit < number[:, None]).repeat_interleave(outputs, 0), persistent=False)

    def forward(self, z: Float[Tensor, "*lead D"], context: Tensor | None = None) -> Float[Tensor, "*more D out"]:
        """Map z of shape (*lead, D) to (*more, D, outputs), `more` being lead broadcast against that of the context."""
        h = affine(z, self.first.weight * self.into, self.first.bias)
        if self.read is not None:
            h = h + self.read(context)
        return affine(h.relu(), self.last.weight * self.out, self.last.bias).unflatten(-1, (self.dims, self.outputs))
