"""Grey and colour pixels: several modes, and colours that depend on one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from ..conditional import bounded
from ..distributions import LogisticMixture as Density
from ..errors import UsageError
from .base import Likelihood


class LogisticMixture(Likelihood):
    """P(x | z) = prod over pixels of sum_m pi_m P_m(r) P_m(g | r) P_m(b | r, g), each P_m a discretised logistic.

    The location of g moves with r, that of b with r and g, by coefficients tanh(c) of each component. x lies on `bins`
    values from `low` to `high`; locations and scales are in units of that range, and scales start near a tenth of it.
    For x of shape (C, H, W) a pixel is its C channels; for any other shape each entry is a pixel of its own.

    Shapes: the network gives (*lead, components * P, *pixels), P = 1 + 2 C + C (C - 1) / 2: pi, mu, log s, c.
    A mask may leave out whole pixels, or their last channels; others are refused. Salimans et al. 2017 (PixelCNN++),
    section 2.1 and 2.2.

    >>> likelihoods.LogisticMixture.outputs((3, 32, 32), components=10)
    (100, 32, 32)
    """

    discrete = True
    values = ("integer",)
    levels = "bins"

    def __init__(
        self,
        network: nn.Module,
        shape: Sequence[int],
        components: int = 10,
        bins: int = 256,
        low: float = 0.0,
        high: float = 1.0,
    ) -> None:
        super().__init__(network, shape)
        if components < 1 or bins < 2 or not high > low:
            raise UsageError(
                "LogisticMixture: needs components >= 1, bins >= 2 and high > low, "
                f"got components={components}, bins={bins}, low={low}, high={high}."
            )
        self.components, self.bins, self.low, self.high = components, bins, low, high

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (components * (1 + 2 C + C (C - 1) / 2), *pixels)."""
        c, pixels = (shape[0], shape[1:]) if len(shape) == 3 else (1, shape)
        return (arguments.get("components", 10) * (1 + 2 * c + c * (c - 1) // 2), *pixels)

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return P(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        channels = self.shape[0] if len(self.shape) == 3 else None
        c, pixels = channels or 1, len(self.shape) - (channels is not None)
        out = self.parameters_at(given, condition)
        out = out.unflatten(-1 - pixels, (-1, self.components))  # (*lead, P, components, *pixels)
        logits, loc, log_scale, coupling = out.split([1, c, c, c * (c - 1) // 2], -2 - pixels)
        span = self.high - self.low
        density = Density(
            logits.squeeze(-2 - pixels),
            self.low + span * (0.5 + loc),
            0.1 * span * bounded(log_scale).exp(),
            torch.tanh(coupling),
            pixels=pixels,
            low=self.low,
            high=self.high,
            bins=self.bins,
            grey=channels is None,
        )
        return Independent(density, len(self.shape), validate_args=False)
