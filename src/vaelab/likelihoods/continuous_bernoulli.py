"""Shares: numbers from 0 to 1."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution, Independent

from ..distributions import ContinuousBernoulli as Density
from .base import Likelihood


class ContinuousBernoulli(Likelihood):
    """p(x | z) = exp(t x) t / (e^t - 1) per entry, t = network(z), for x in [0, 1].

    What "binary cross-entropy on grey values" leaves out is the normaliser t / (e^t - 1), which makes it a density.
    Loaiza-Ganem & Cunningham 2019, The continuous Bernoulli (NeurIPS), eq. 5-7.

    >>> px = likelihoods.ContinuousBernoulli(networks.Linear(2, 5), (5,))(torch.zeros(7, 2))
    >>> bool((px.mean > 0).all() and (px.mean < 1).all())
    True
    """

    discrete = False
    values = ("integer",)  # on a grid, x = (raw - low) / (high - low) lies in [0, 1]

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        return Independent(Density(self.parameters_at(given, condition)), len(self.shape), validate_args=False)
