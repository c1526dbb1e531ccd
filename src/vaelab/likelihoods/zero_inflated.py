"""Counts with more zeros than their family has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, distributions
from torch.distributions import Distribution, Independent

from ..distributions import NegativeBinomial, ZeroInflated
from .counts import Counts, Dispersed


class ZeroInflatedPoisson(Counts):
    """P(0 | z) = g + (1 - g) e^-m, P(x | z) = (1 - g) m^x e^-m / x! per entry: a share g(z) of zeros on top.

    The network gives (2, *shape): log m in units of the entry's mean count, and the logit of g. Lambert 1992.

    >>> px = likelihoods.ZeroInflatedPoisson(networks.Linear(2, (2, 5)), (5,))(torch.zeros(7, 2))
    >>> bool((px.log_prob(torch.zeros(7, 5)) < 0).all())
    True
    """

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (2, *shape)."""
        return (2, *shape)

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return P(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        mean, zero = self.parameters_at(given, condition).unbind(-1 - len(self.shape))
        counted = distributions.Poisson(self.log_mean(mean).exp(), validate_args=False)
        return Independent(ZeroInflated(counted, zero), len(self.shape), validate_args=False)


class ZeroInflatedNegativeBinomial(Dispersed):
    """P(0 | z) = g + (1 - g) B(0), P(x | z) = (1 - g) B(x) per entry, B the negative binomial and g(z) a share.

    The network gives (2, *shape): log m in units of the entry's mean count and the logit of g; with
    dispersion="network" (3, *shape), log 1 / r last. The likelihood of Lopez et al. 2018 (scVI), without its library
    sizes.

    >>> px = likelihoods.ZeroInflatedNegativeBinomial(networks.Linear(2, (2, 5)), (5,))(torch.zeros(7, 2))
    >>> bool((px.log_prob(torch.zeros(7, 5)) < 0).all())
    True
    """

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (3, *shape) if the network gives the dispersion, else (2, *shape)."""
        return (3 if arguments.get("dispersion") == "network" else 2, *shape)

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return P(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        out = self.parameters_at(given, condition).unbind(-1 - len(self.shape))
        log_shape = self.log_shape(out[2] if self.dispersion == "network" else None, out[0])
        counted = NegativeBinomial(self.log_mean(out[0]), log_shape)
        return Independent(ZeroInflated(counted, out[1]), len(self.shape), validate_args=False)
