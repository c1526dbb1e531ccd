"""The one idea: a conditional distribution is a module whose forward(given) returns a torch Distribution."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from .part import Part

if TYPE_CHECKING:
    from .models.terms import Terms


class Conditional(Part, ABC):
    """p(y | given): a prior p(z), a posterior q(z | x) and a likelihood p(x | z) are all of this one kind.

    The role is the place it takes in a model. Called as part(given), or part(given, condition) when there is a
    condition; for a prior the condition is all that is given.
    """

    normalized: ClassVar[bool] = True  # False marks a pseudo-likelihood: whatever needs log p(x) refuses it by name

    @abstractmethod
    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(y | given): batch shape that of the rows given, event shape that of one y."""

    def start(self, x: Tensor, rows: int) -> None:
        """Set what is best set from data, once before training: from some rows x (B, *X) of `rows` in all.

        NaN stands where nothing was observed: what is set must not take a gap for a value.
        """

    products: torch.dtype | None = None  # in training: what the part's network multiplies in, where not in its own type

    def called(self, network: nn.Module, given: Tensor, condition: Tensor | None) -> Tensor:
        """Return network(given[, condition]), in a type no narrower than that of `given`."""
        own = self.products is None or not self.training
        with nullcontext() if own else torch.autocast(given.device.type, self.products):
            out: Tensor = network(given) if condition is None else network(given, condition)
        return as_wide(out, given)

    updates: bool = False  # True where update() has something to do
    couples_rows: bool = False  # True where it then reads all rows of the batch together

    def update(self, terms: Terms) -> None:
        """Re-estimate what has a closed form, after a step of the optimiser; most parts have nothing to do."""


def as_wide(out: Tensor, given: Tensor) -> Tensor:
    """Return what a network gave, in a type no narrower than what it was given.

    Under autocast networks give 16-bit numbers, in which a density or a KL would lose all but three digits.
    """
    return out.to(torch.promote_types(out.dtype, given.dtype))


def bounded(raw: Tensor, bound: float = 10.0) -> Tensor:
    """Return (2 bound / pi) arctan(pi raw / (2 bound)): near zero the identity, within ±bound, no dead gradient.

    Log-deviations pass through it, so a scale stays within exp(±bound) times its unit and nothing overflows.
    """
    slope = math.pi / (2 * bound)
    return torch.atan(slope * raw) / slope


def unbounded(y: Tensor, bound: float = 10.0) -> Tensor:
    """Return raw with bounded(raw) = y, for y within ±bound; what lies outside is taken to 99.9 % of it."""
    slope = math.pi / (2 * bound)
    return torch.tan(slope * y.clamp(-0.999 * bound, 0.999 * bound)) / slope
