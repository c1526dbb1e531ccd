"""p(s | x): which entries of a row go missing, where that depends on what they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent

from .conditional import Conditional
from .errors import UsageError
from .shapes import Float

__all__ = ["SelfMasking"]

DIRECTIONS = ("either", "high", "low")


class SelfMasking(Conditional):
    """p(s | x) = prod_i p(s_i | x_i), p(s_i = 0 | x_i) = 1 / (1 + exp(-(w_i x_i + c_i))): each entry hides itself.

    s_i = 1 where entry i is observed. `direction` says what is known of it: "either", or that "high" or "low" values go
    missing (w_i above or below 0). Whether there is such a dependence no data can tell without the rest of the model.
    Of a table with `columns` these alone may hide themselves, w_i = 0 for others, which go missing by chance.

    Shapes: x (*lead, *shape), whole, to masks of the same shape. Ipsen, Mattei & Frellsen 2021, not-MIWAE, section 3.

    >>> missing = vaelab.missingness.SelfMasking((3,))
    >>> missing(torch.zeros(7, 3)).log_prob(torch.ones(7, 3)).shape
    torch.Size([7])
    """

    hides: Tensor

    def __init__(self, shape: Sequence[int], direction: str = "either", columns: Sequence[int] | None = None) -> None:
        super().__init__()
        if direction not in DIRECTIONS:
            raise UsageError(f"SelfMasking: direction is one of {', '.join(DIRECTIONS)}, got {direction!r}.")
        if columns is not None and not columns:
            raise UsageError("SelfMasking: no column of this table is a real number whose draws carry a gradient.")
        self.shape, self.direction = tuple(shape), direction
        self.columns = None if columns is None else tuple(columns)
        self.raw_slope = nn.Parameter(torch.zeros(self.shape))
        self.intercept = nn.Parameter(torch.zeros(self.shape))
        hides = torch.ones(self.shape) if columns is None else torch.zeros(self.shape)
        hides[list(columns or ())] = 1
        self.register_buffer("hides", hides, persistent=False)

    def start(self, x: Tensor, rows: int) -> None:
        """Begin at the share of each entry that is missing, whatever its value."""
        self.intercept.copy_(torch.logit((x.isnan().double().sum(0) + 0.5) / (len(x) + 1)))

    @property
    def slope(self) -> Float[Tensor, " *X"]:
        """w: by how much the log-odds of going missing rise with the entry, in the model's units."""
        if self.direction == "either":
            return self.raw_slope * self.hides
        return nn.functional.softplus(self.raw_slope) * (self.hides if self.direction == "high" else -self.hides)

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(s | x) for whole rows x (*lead, *shape)."""
        assert given is not None
        logits = -(self.slope * given + self.intercept)
        return Independent(Bernoulli(logits=logits, validate_args=False), len(self.shape), validate_args=False)
