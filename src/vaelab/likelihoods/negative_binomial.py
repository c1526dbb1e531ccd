"""Counts that vary more than a Poisson's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.distributions import Distribution, Independent

from ..distributions import NegativeBinomial as Density
from .counts import Dispersed


class NegativeBinomial(Dispersed):
    """P(x | z) with mean m = unit * exp(network(z)) and variance m + m² / r per entry.

    `dispersion`, 1 / r, is "entry" (the default), "shared", "network" (which then gives (2, *shape): log m, log 1 / r)
    or a number; near 0 it is the Poisson. `unit` is the mean count of the entry in the training rows. The likelihood of
    single-cell counts in Lopez et al. 2018 (scVI), without its library sizes.

    >>> px = likelihoods.NegativeBinomial(networks.Linear(2, 5), (5,), dispersion=0.5)(torch.zeros(7, 2))
    >>> torch.allclose(px.variance, px.mean + 0.5 * px.mean**2)
    True
    """

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (2, *shape) if the network gives the dispersion, else shape."""
        return (2, *shape) if arguments.get("dispersion") == "network" else tuple(shape)

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return P(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        out = self.parameters_at(given, condition)
        mean, dispersion = out.unbind(-1 - len(self.shape)) if self.dispersion == "network" else (out, None)
        density = Density(self.log_mean(mean), self.log_shape(dispersion, out))
        return Independent(density, len(self.shape), validate_args=False)
