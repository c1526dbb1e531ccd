"""Ordered levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from .. import distributions
from ..conditional import bounded
from ..errors import UsageError
from .base import Likelihood

NARROWEST = 1e-3  # the least that two thresholds are apart


class Ordinal(Likelihood):
    """P(x <= k | z) = F((t_k - mu(z)) / s(z)) per entry, F the logistic function, t its learned thresholds.

    x lies on the grid 0, 1 / (bins - 1), ..., 1. The thresholds start where the training rows have theirs, so
    the law begins as that of the column by itself, whatever its shape: values that stand out keep their mass.

    Shapes: the network gives (*lead, 2, *shape): mu and log s. McCullagh 1980, Regression models for ordinal data, 2.1.

    >>> likelihoods.Ordinal.outputs((5,), bins=3)
    (2, 5)
    """

    discrete = True
    values = ("integer",)
    levels = "bins"

    def __init__(self, network: nn.Module, shape: Sequence[int], bins: int) -> None:
        super().__init__(network, shape)
        if bins < 2:
            raise UsageError(f"Ordinal: bins must be at least 2, got {bins}.")
        self.bins = bins
        even = torch.logit(torch.arange(1, bins) / bins)  # thresholds under which all bins are alike
        self.first = nn.Parameter(torch.full(self.shape, -math.log(bins - 1)))
        self.log_steps = nn.Parameter(even.diff().log().repeat(*self.shape, 1))

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (2, *shape)."""
        return (2, *shape)

    def start(self, x: Tensor, rows: int) -> None:
        """Set the thresholds of each entry to the logits of its cumulative shares, with half a row in each bin."""
        if x.shape[1:] != self.shape:
            return
        k = (x.nan_to_num() * (self.bins - 1)).round().long().clamp(0, self.bins - 1)
        share = (nn.functional.one_hot(k, self.bins) * ~x.isnan().unsqueeze(-1)).double().sum(0) + 0.5
        t = torch.logit((share.cumsum(-1) / share.sum(-1, keepdim=True))[..., :-1])
        self.first.copy_(t[..., 0])
        self.log_steps.copy_((t.diff() - NARROWEST).clamp(min=NARROWEST).log())

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        loc, log_scale = self.parameters_at(given, condition).unbind(-1 - len(self.shape))
        steps = torch.cat([self.first.unsqueeze(-1), NARROWEST + bounded(self.log_steps).exp()], -1)
        d = distributions.Ordinal(loc, bounded(log_scale, 3.0).exp(), steps.cumsum(-1))
        return Independent(d, len(self.shape), validate_args=False)
