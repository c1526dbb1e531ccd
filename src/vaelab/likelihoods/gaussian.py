"""Real numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from ..conditional import bounded
from ..errors import UsageError
from .base import SCALES, Likelihood

if TYPE_CHECKING:
    from ..models.terms import Terms


class Gaussian(Likelihood):
    """p(x | z) = N(x; mu(z), sigma²) per entry.

    `scale` says where sigma comes from: a number (fixed), "shared" (one learned number), "entry" (one learned number
    per entry), "network" (a function of z; the network gives (*lead, 2, *shape): mu, log sigma) or "optimal"
    (sigma² = mean squared error, in closed form: Rybkin, Daniilidis & Levine 2021, eq. 5; here a running mean over
    batches with weight `momentum` on the newest).

    Kingma & Welling 2013, appendix C.2. log sigma is bounded to ±10, so a density cannot run away to infinity on
    entries that are reproduced exactly.

    >>> px = likelihoods.Gaussian(networks.Linear(2, 5), (5,), scale=1.0)(torch.zeros(7, 2))
    >>> round(px.log_prob(px.mean)[0].item(), 4)  # -5/2 log(2 pi)
    -4.5947
    """

    discrete = False
    values = ("integer", "real")
    variance: Tensor

    def __init__(
        self, network: nn.Module, shape: Sequence[int], scale: float | str = "shared", momentum: float = 0.05
    ) -> None:
        super().__init__(network, shape)
        if isinstance(scale, str):
            if scale not in SCALES:
                raise UsageError(f"Gaussian: scale is a number or one of {', '.join(SCALES)}; got {scale!r}.")
        elif not scale > 0:
            raise UsageError(f"Gaussian: scale must be positive, got {scale}.")
        if not 0 < momentum <= 1:
            raise UsageError(f"Gaussian: momentum must lie in (0, 1], got {momentum}.")
        self.scale, self.momentum = scale, momentum
        if scale in ("shared", "entry"):
            self.log_scale = nn.Parameter(torch.zeros(self.shape if scale == "entry" else ()))
        elif scale == "optimal":
            self.register_buffer("variance", torch.ones(()))
            self.updates = self.couples_rows = True

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (2, *shape) if the network gives the scales, else shape."""
        return (2, *shape) if arguments.get("scale") == "network" else tuple(shape)

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        out = self.parameters_at(given, condition)
        if self.scale == "network":
            loc, log_scale = out.unbind(-1 - len(self.shape))
            sigma = bounded(log_scale).exp()
        elif self.scale == "optimal":
            loc, sigma = out, self.variance.sqrt()
        elif isinstance(self.scale, str):
            loc, sigma = out, bounded(self.log_scale).exp()
        else:
            loc, sigma = out, out.new_tensor(self.scale)
        return Independent(Normal(loc, sigma, validate_args=False), len(self.shape), validate_args=False)

    def update(self, terms: Terms) -> None:
        """Move the optimal variance towards the mean squared error of these draws, over the observed entries."""
        with torch.no_grad():
            error = (terms.x - terms.px.mean).square()
            if terms.observed is not None:
                error = error[terms.observed.expand_as(error)]
            if error.numel() == 0:
                return  # a batch without observed entries says nothing; the mean of nothing is NaN, for ever
            self.variance.lerp_(error.mean().clamp(min=1e-9), self.momentum)
