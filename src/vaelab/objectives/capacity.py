"""A KL that is held at a capacity, which grows."""

from __future__ import annotations

from torch import Tensor

from ..models import Terms
from ..shapes import Float
from .base import BoundObjective
from .bounds import ramp


class Capacity(BoundObjective):
    """E_q[log p(x | z)] - gamma |KL(q || p) - C(step)| (Burgess et al. 2018, eq. 8).

    C rises linearly and is whole, `capacity` nats, from step `warmup` on. What is reported is the bound at beta = 1.

    >>> objectives.Capacity(gamma=1000, capacity=25, warmup=100_000).capacity
    25
    """

    def __init__(self, gamma: float = 1000.0, capacity: float = 25.0, warmup: int = 10_000, samples: int = 1) -> None:
        super().__init__()
        self.gamma, self.capacity, self.warmup, self.samples = gamma, capacity, warmup, samples
        self.require(
            gamma=(gamma >= 0, "at least 0"),
            capacity=(capacity >= 0, "at least 0"),
            warmup=(warmup >= 0, "at least 0"),
            samples=(samples >= 1, "at least 1"),
        )

    def bound(self, terms: Terms, step: int) -> Float[Tensor, " B"]:
        """Return what is maximised, (B,)."""
        target = self.capacity * ramp(step, self.warmup)
        return terms.mean(terms.log_px) - self.gamma * (terms.mean(terms.kl_total) - target).abs()
