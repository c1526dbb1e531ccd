"""A logistic density cut into equal bins: the likelihood of 8-bit pixels and other integer grids."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, constraints


class DiscretizedLogistic(Distribution):
    """P(x) = F((x + h - loc) / scale) - F((x - h - loc) / scale), F the logistic function, h half a bin.

    x lies on `bins` equally spaced values from `low` to `high`; the two end bins take the tails, so the masses sum
    to one exactly. Kingma et al. 2016 (IAF), appendix; Salimans et al. 2017, eq. 2.

    Shapes: loc and scale broadcast to the batch shape; the event is a scalar. Log-masses are in nats.

    >>> d = distributions.DiscretizedLogistic(torch.tensor(0.3), torch.tensor(0.1), bins=5)
    >>> round(sum(d.log_prob(torch.tensor(k / 4)).exp().item() for k in range(5)), 6)
    1.0
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": constraints.real, "scale": constraints.positive}
    has_rsample = False

    def __init__(self, loc: Tensor, scale: Tensor, *, low: float = 0.0, high: float = 1.0, bins: int = 256) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        self.low, self.high, self.bins = low, high, bins
        self.step = (high - low) / (bins - 1)
        super().__init__(self.loc.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log P(x) by F(a) - F(b) = F(a) F(-b) (1 - exp(b - a)): no cancellation in the tails."""
        half = self.step / 2
        upper = (value + half - self.loc) / self.scale
        lower = (value - half - self.loc) / self.scale
        width = self.step / self.scale
        inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
        # a value that is rounded is still at its end: compare with half a bin to spare
        at_low, at_high = value < self.low + half, value > self.high - half
        return torch.where(at_low, F.logsigmoid(upper), torch.where(at_high, F.logsigmoid(-lower), inside))

    @property
    def mean(self) -> Tensor:
        """E[x] = low + step * sum over bins k < bins - 1 of P(x above bin k)."""
        total = torch.zeros_like(self.loc)
        for k in range(self.bins - 1):
            edge = self.low + (k + 0.5) * self.step
            total = total + torch.sigmoid((self.loc - edge) / self.scale)
        return self.low + self.step * total

    def icdf(self, u: Tensor) -> Tensor:
        """Return the grid value whose bin holds the logistic quantile of u."""
        x = self.loc + self.scale * torch.logit(u, eps=torch.finfo(u.dtype).tiny)
        index = ((x - self.low) / self.step).round().clamp(0, self.bins - 1)
        return self.low + self.step * index
