"""Real numbers with several modes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from .. import distributions
from ..conditional import bounded
from ..data.fields import SPIKE
from ..errors import UsageError
from .base import Likelihood

WIDEST = 3.0  # of the logits of the weights and the log-deviations


class GaussianMixture(Likelihood):
    """p(x | z) = sum_c w_c(z) N(x; mu_c(z), sigma_c(z)²) per entry; with `spike`, a value has a mass of its own.

    That value is x = data.fields.SPIKE: log p is there the log of a mass, pi(z), elsewhere that of the density times
    1 - pi(z). log sigma is learned for each entry and component, and the network adds to it within ±3.

    Shapes: the network gives (*lead, 3 components [+ 1], *shape): logits of w, mu, log sigma [, the logit of pi].

    >>> likelihoods.GaussianMixture.outputs((5,), components=3)
    (9, 5)
    """

    discrete = False
    values = ("real",)
    centres: Tensor

    def __init__(self, network: nn.Module, shape: Sequence[int], components: int = 3, spike: bool = False) -> None:
        super().__init__(network, shape)
        if components < 1:
            raise UsageError(f"GaussianMixture: components must be at least 1, got {components}.")
        self.components, self.spike = components, spike
        # apart from the start, else all components would stay one
        self.register_buffer("centres", torch.linspace(-1.5, 1.5, components) if components > 1 else torch.zeros(1))
        self.log_scale = nn.Parameter(torch.zeros(components, *self.shape))
        self.log_odds = nn.Parameter(torch.zeros(self.shape)) if spike else None

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (3 components, *shape), one more with a spike."""
        return (3 * arguments.get("components", 3) + bool(arguments.get("spike")), *shape)

    def start(self, x: Tensor, rows: int) -> None:
        """Set the odds of the spike to those of the training rows."""
        if self.log_odds is not None and x.shape[1:] == self.shape:
            self.log_odds.copy_(torch.logit(((x == SPIKE).double().sum(0) + 0.5) / ((~x.isnan()).sum(0) + 1)))

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        out = self.parameters_at(given, condition).movedim(-1 - len(self.shape), -1)  # (*lead, *shape, outputs)
        logits, loc, log_scale, *spike = out.split([self.components] * 3 + [1] * self.spike, -1)
        sigma = bounded(self.log_scale.movedim(0, -1) + bounded(log_scale, WIDEST)).exp()
        odds = None if self.log_odds is None else self.log_odds + spike[0].squeeze(-1)
        d = distributions.GaussianMixture(logits, self.centres + loc, sigma, odds, at=SPIKE)
        return Independent(d, len(self.shape), validate_args=False)
