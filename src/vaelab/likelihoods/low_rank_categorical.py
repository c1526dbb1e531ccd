"""Many categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from .. import distributions
from .base import Likelihood


class LowRankCategorical(Likelihood):
    """P(x = c | z) = softmax(V network(z) + b)[c] per entry: each category is a row of V, of `rank` numbers.

    For columns of thousands of categories: the network's output and the gradient's memory do not grow with them. All
    entries share V and b; b starts as the logarithm of the shares in the training rows.

    Shapes: the network gives (*lead, *shape, rank); x is a category 0 .. categories - 1.

    >>> likelihoods.LowRankCategorical.outputs((1,), categories=100_000)
    (1, 32)
    """

    discrete = True
    values = ("category",)
    levels = "categories"

    def __init__(self, network: nn.Module, shape: Sequence[int], categories: int, rank: int = 32) -> None:
        super().__init__(network, shape)
        self.categories, self.rank = categories, rank
        self.vectors = nn.Parameter(torch.randn(categories, rank) / rank)
        self.bias = nn.Parameter(torch.zeros(categories))

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (*shape, rank)."""
        return (*shape, arguments.get("rank", 32))

    def start(self, x: Tensor, rows: int) -> None:
        """Set b to the log-share of each category, with half a row in each."""
        if x.shape[1:] == self.shape:
            share = torch.bincount(x[~x.isnan()].long(), minlength=self.categories).double() + 0.5
            self.bias.copy_((share / share.sum()).log())

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        d = distributions.LowRankCategorical(self.parameters_at(given, condition), self.vectors, self.bias)
        return Independent(d, len(self.shape), validate_args=False)
