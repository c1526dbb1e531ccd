"""Counts of events."""

from __future__ import annotations

from torch import Tensor, distributions
from torch.distributions import Distribution, Independent

from .counts import Counts


class Poisson(Counts):
    """P(x | z) = m^x e^-m / x! per entry, m = unit * exp(network(z)).

    `unit` is the mean count of the entry in the training rows. The variance is the mean; where counts vary more, use
    NegativeBinomial.

    >>> px = likelihoods.Poisson(networks.Linear(2, 5), (5,))(torch.zeros(7, 2))
    >>> torch.equal(px.mean, px.variance)
    True
    """

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return P(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        rate = self.log_mean(self.parameters_at(given, condition)).exp()
        return Independent(distributions.Poisson(rate, validate_args=False), len(self.shape), validate_args=False)
