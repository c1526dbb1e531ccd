"""What likelihoods of counts share: rates as multiples of the mean count, an encoder that reads log(1 + x)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..conditional import bounded
from ..networks import Log1p
from .base import Likelihood
from .location_scale import learned

HALF = 0.5  # the count whose logarithm stands for an entry that was never seen above 0


class Counts(Likelihood):
    """P(x | z) over whole numbers x >= 0 without an upper end, their means m(z) = unit * exp(network(z)).

    `unit` starts as the mean count of each entry in the training rows, so that a network near zero says something
    sensible whether counts are about 1 or about 10,000; the exponent is bounded to ±10.
    """

    discrete = True
    values = ("binary", "count")
    log_unit: Tensor

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        super().__init__(network, shape)
        self.register_buffer("log_unit", torch.zeros(self.shape))

    @classmethod
    def reader(cls, network: nn.Module, **arguments: Any) -> nn.Module:
        """Return network(log(1 + x)): counts spread over decades."""
        return Log1p(network)

    def start(self, x: Tensor, rows: int) -> None:
        """Set the unit of each entry to its mean count in these rows, at least half a count in all of them.

        Rows of another shape are those of a part that this one belongs to, and that starts it from its own entries.
        """
        if x.shape[1:] != self.shape:
            return
        mean = x.double().nanmean(0).nan_to_num(1.0)  # of an entry that no row has
        self.log_unit.copy_(mean.clamp(min=HALF / len(x)).log())

    def log_mean(self, raw: Tensor) -> Tensor:
        """Return log m, (*lead, *shape), for what the network says."""
        return self.log_unit + bounded(raw)


class Dispersed(Counts):
    """Counts whose variance is m + m² / r, r learned: `dispersion` says where 1 / r comes from.

    "shared" (one number), "entry" (one per entry), "network" (a function of z: one more output per entry) or a fixed
    positive number. The logarithm of a learned 1 / r is bounded to ±10.
    """

    log_dispersion: Tensor

    def __init__(self, network: nn.Module, shape: Sequence[int], dispersion: float | str = "entry") -> None:
        super().__init__(network, shape)
        self.dispersion = dispersion
        learned(self, "dispersion", dispersion)

    def log_shape(self, raw: Tensor | None, like: Tensor) -> Tensor:
        """Return log r: from the network's output where that gives it, else from the parameter or the number."""
        if raw is not None:
            return -bounded(raw)
        if isinstance(self.dispersion, str):
            return -bounded(self.log_dispersion)
        return -like.new_tensor(self.dispersion).log()
