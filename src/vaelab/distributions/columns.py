"""A row whose columns are of different families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..noise import Noise
from .reparameterize import draw, entries, register_draw


class Columns(Distribution):
    """p(x_i) of each column i, each group of columns by a family of its own.

    Shapes: groups are distributions of batch shape (*batch) and event shape (n,), which factorise over their columns;
    `index` says for each group which columns of x they are. The batch shape is (*batch, columns), the event a scalar.

    >>> wide, coin = torch.distributions.Normal(torch.zeros(2), 1.0), torch.distributions.Bernoulli(torch.ones(1) / 2)
    >>> groups = [torch.distributions.Independent(d, 1) for d in (wide, coin)]
    >>> d = distributions.Columns(groups, [[0, 2], [1]])  # a number, a coin, a number
    >>> d.log_prob(torch.tensor([0.0, 1.0, 0.0]))
    tensor([-0.9189, -0.6931, -0.9189])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, groups: Sequence[Distribution], index: Sequence[Sequence[int]]) -> None:
        self.groups, self.index = tuple(groups), tuple(tuple(columns) for columns in index)
        order = [column for columns in self.index for column in columns]
        self.places = [order.index(column) for column in range(len(order))]  # where each column stands in the groups
        super().__init__(torch.Size([*self.groups[0].batch_shape, len(order)]), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x_i) of each column, (*batch, columns)."""
        return self.joined([entries(d).log_prob(value[..., i]) for d, i in zip(self.groups, self.index)])

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """Return values of each group, (..., n), in the order of the columns."""
        return torch.cat(list(parts), -1)[..., self.places]

    @property
    def mean(self) -> Tensor:
        """E[x_i], NaN for categories."""
        return self.joined([d.mean for d in self.groups])

    @property
    def mode(self) -> Tensor:
        """The most probable value of each category; elsewhere the mean."""
        # decided by the family, not by the numbers: a decoder that is traced takes no branch by a value
        return self.joined([_likeliest(d) for d in self.groups])


def _likeliest(d: Distribution) -> Tensor:
    try:
        mean, mode = d.mean, d.mode
    except NotImplementedError:
        return d.mean
    return torch.where(mean.isnan(), mode.to(mean.dtype), mean)


@register_draw(Columns)
def _columns(d: Columns, samples: int, noise: Noise) -> Tensor:
    return d.joined([draw(group, samples, noise) for group in d.groups])
