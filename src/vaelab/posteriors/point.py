"""The posterior of a plain autoencoder."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution

from ..distributions import PointMass
from .amortized import Amortized


class Point(Amortized):
    """q(z | x) = delta(z - network(x)): no noise, no density, and so no bound on log p(x).

    >>> q = posteriors.Point(networks.Linear(5, posteriors.Point.outputs(2)), 2)(torch.zeros(7, 5))
    >>> torch.equal(q.mean, q.sample()), q.variance.max().item()
    (True, 0.0)
    """

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return the point mass at the code of x of shape (B, *X)."""
        assert given is not None
        return PointMass(self.parameters_at(given, condition))
