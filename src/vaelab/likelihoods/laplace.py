"""Real numbers with outliers: absolute errors."""

from __future__ import annotations

from torch import Tensor, distributions
from torch.distributions import Distribution, Independent

from .location_scale import LocationScale


class Laplace(LocationScale):
    """p(x | z) = exp(-|x - mu(z)| / s) / (2 s) per entry: the reconstruction error is absolute, in units of s.

    `scale` is a number, "shared", "entry" or "network", as for the Gaussian; the network gives mu, or (2, *shape):
    mu, log s.

    >>> px = likelihoods.Laplace(networks.Linear(2, 5), (5,), scale=1.0)(torch.zeros(7, 2))
    >>> round(px.log_prob(px.mean)[0].item(), 4)  # -5 log 2
    -3.4657
    """

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        loc, scale = self.location_scale(given, condition)
        return Independent(distributions.Laplace(loc, scale, validate_args=False), len(self.shape), validate_args=False)
