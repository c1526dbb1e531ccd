"""Numbers that belong to a row, for inference that is not amortised."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..part import Part
from ..shapes import Float
from .linear import Shape, as_shape


class PerRow(Part):
    """y_n = theta_n: what a row's place says, not what stands in it. Starts at 0, trained like any weights.

    In the place of an encoder it makes any posterior one that is optimised row by row, which amortised inference
    saves (Kingma & Welling 2013, section 2.1; "local variational parameters"). Shapes: x (rows, ...) -> (rows,
    *outputs); raises UsageError for another number of rows: they are known by their order, so all must be there.

    >>> q = posteriors.FullGaussian(networks.PerRow(7, posteriors.FullGaussian.outputs(2)), 2)
    >>> q(torch.zeros(7, 5)).scale_tril.shape
    torch.Size([7, 2, 2])
    """

    def __init__(self, rows: int, outputs: Shape) -> None:
        super().__init__()
        self.rows, self.outputs = rows, as_shape(outputs)
        if rows < 1 or math.prod(self.outputs) < 1:
            raise UsageError(f"PerRow: rows and outputs must be at least 1, got {rows} and {outputs}.")
        self.values = nn.Parameter(torch.zeros(rows, *self.outputs))

    def forward(self, x: Float[Tensor, ...], condition: Float[Tensor, "*lead C"] | None = None) -> Float[Tensor, ...]:
        """Return theta, (rows, *outputs), whatever x is."""
        if len(x) != self.rows:
            raise UsageError(f"PerRow: made for {self.rows} rows in their order, got {len(x)}. Hand in all of them.")
        return self.values
