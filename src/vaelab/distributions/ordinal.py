"""Ordered levels: a logistic variable between thresholds."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

from ..noise import Noise
from .reparameterize import register_draw


class Ordinal(Distribution):
    """P(level <= k) = F((t_k - loc) / scale), F the logistic function, t_0 < t_1 < ... the thresholds (McCullagh 1980).

    x lies on N equally spaced values from 0 to 1. Shapes: loc and scale (*batch), thresholds broadcast to
    (*batch, N - 1); the event is a scalar. Nats, of a mass.

    >>> d = distributions.Ordinal(torch.tensor(0.0), torch.tensor(1.0), torch.tensor([0.0, 1.0]))
    >>> round(d.log_prob(torch.tensor(0.0)).exp().item(), 6), d.mean.item() < 0.5
    (0.5, True)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, loc: Tensor, scale: Tensor, thresholds: Tensor) -> None:
        self.loc, self.scale, self.thresholds = loc, scale, thresholds
        self.levels = thresholds.shape[-1] + 1
        super().__init__(torch.broadcast_shapes(loc.shape, scale.shape), validate_args=False)

    def _at(self, number: Tensor) -> Tensor:
        """Return (t_k - loc) / scale of threshold k, (*batch)."""
        number = number.clamp(0, self.levels - 2)
        shape = torch.broadcast_shapes(number.shape, self.batch_shape)
        t = self.thresholds.expand(*shape, self.levels - 1).gather(-1, number.expand(shape).unsqueeze(-1)).squeeze(-1)
        return (t - self.loc) / self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log P(x) by F(a) - F(b) = F(a) F(-b) (1 - exp(b - a)): no cancellation in the tails."""
        k = (value * (self.levels - 1)).round().long()
        upper, lower = self._at(k), self._at(k - 1)
        first, last = k <= 0, k >= self.levels - 1
        width = torch.where(first | last, 1.0, upper - lower)  # at the ends the other branch is taken
        inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
        return torch.where(first, F.logsigmoid(upper), torch.where(last, F.logsigmoid(-lower), inside))

    @property
    def mean(self) -> Tensor:
        """E[x] = (1 / (N - 1)) sum_k P(level > k)."""
        above = torch.sigmoid((self.loc.unsqueeze(-1) - self.thresholds) / self.scale.unsqueeze(-1))
        return above.mean(-1).expand(self.batch_shape)

    def icdf(self, u: Tensor) -> Tensor:
        """Return the level below which a share u of the mass lies, 0 .. 1."""
        at = self.loc + self.scale * torch.logit(u, eps=torch.finfo(u.dtype).tiny)
        return (at.unsqueeze(-1) > self.thresholds).sum(-1).to(self.loc.dtype) / (self.levels - 1)


@register_draw(Ordinal)
def _ordinal(d: Ordinal, samples: int, noise: Noise) -> Tensor:
    return d.icdf(noise.uniform((samples, *d.batch_shape), d.loc))
