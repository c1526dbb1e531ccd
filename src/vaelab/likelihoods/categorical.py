"""Categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, distributions, nn
from torch.distributions import Distribution, Independent

from ..networks import OneHot
from .base import Likelihood


class Categorical(Likelihood):
    """log p(x | z) = sum over entries of log softmax(network(z))[x]; x is a category 0 .. categories - 1.

    Shapes: the network gives (*lead, *shape, categories).

    >>> px = likelihoods.Categorical(networks.Linear(2, (5, 3)), (5,), categories=3)(torch.zeros(7, 2))
    >>> total = sum(distributions.entries(px).log_prob(torch.full((7, 5), float(k))).exp() for k in range(3))
    >>> torch.allclose(total, torch.ones(7, 5))
    True
    """

    discrete = True
    values = ("category",)
    levels = "categories"

    def __init__(self, network: nn.Module, shape: Sequence[int], categories: int) -> None:
        super().__init__(network, shape)
        self.categories = categories

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (*shape, categories)."""
        return (*shape, arguments["categories"])

    @classmethod
    def seen(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (*shape, categories)."""
        return cls.outputs(shape, **arguments)

    @classmethod
    def reader(cls, network: nn.Module, **arguments: Any) -> nn.Module:
        """Return a network of unit vectors: the number of a category says nothing."""
        return OneHot(network, arguments["categories"])

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        logits = self.parameters_at(given, condition)
        return Independent(
            distributions.Categorical(logits=logits, validate_args=False),
            len(self.shape),
            validate_args=False,
        )
