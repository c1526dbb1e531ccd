"""8-bit pixels and other integer grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from ..conditional import bounded
from ..distributions import DiscretizedLogistic as Density
from ..errors import UsageError
from .base import Likelihood


class DiscretizedLogistic(Likelihood):
    """P(x | z) = F((x + h - mu(z)) / s) - F((x - h - mu(z)) / s) per entry, on `bins` values from `low` to `high`.

    `scale` says where the scales s come from: "network" (each entry's own, a function of z; the network gives
    (*lead, 2, *shape): mu, log s), "entry" (one learned number per entry) or "shared" (one in all). mu and s are in
    units of the whole range, and s starts near a tenth of it. Kingma et al. 2016 (IAF), appendix.

    >>> network = networks.Linear(2, likelihoods.DiscretizedLogistic.outputs((5,), bins=17))
    >>> px = likelihoods.DiscretizedLogistic(network, (5,), bins=17)(torch.zeros(7, 2))
    >>> total = sum(distributions.entries(px).log_prob(torch.full((7, 5), k / 16)).exp() for k in range(17))
    >>> torch.allclose(total, torch.ones(7, 5), atol=1e-5)
    True
    """

    discrete = True
    values = ("integer",)
    levels = "bins"

    def __init__(
        self,
        network: nn.Module,
        shape: Sequence[int],
        bins: int = 256,
        low: float = 0.0,
        high: float = 1.0,
        scale: str = "network",
    ) -> None:
        super().__init__(network, shape)
        if scale not in ("network", "entry", "shared"):
            raise UsageError(f"DiscretizedLogistic: scale is 'network', 'entry' or 'shared', got {scale!r}.")
        if bins < 2 or not high > low:
            raise UsageError(f"DiscretizedLogistic: needs bins >= 2 and high > low, got {bins} from {low} to {high}.")
        self.bins, self.low, self.high, self.scale = bins, low, high, scale
        if scale != "network":
            self.log_scale = nn.Parameter(torch.zeros(self.shape if scale == "entry" else ()))

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (2, *shape) if the network gives the scales, else shape."""
        return (2, *shape) if arguments.get("scale", "network") == "network" else tuple(shape)

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        out = self.parameters_at(given, condition)
        if self.scale == "network":
            loc, log_scale = out.unbind(-1 - len(self.shape))
        else:
            loc, log_scale = out, self.log_scale
        span = self.high - self.low
        density = Density(
            self.low + span * (0.5 + loc),
            0.1 * span * bounded(log_scale).exp(),
            low=self.low,
            high=self.high,
            bins=self.bins,
        )
        return Independent(density, len(self.shape), validate_args=False)
