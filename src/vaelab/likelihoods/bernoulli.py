"""Binary data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, distributions, nn
from torch.distributions import Distribution, Independent

from ..networks import MLP
from .base import Likelihood


class Bernoulli(Likelihood):
    """log p(x | z) = sum over entries of x log y + (1 - x) log(1 - y), y = sigmoid(network(z)); x is 0 or 1.

    Computed from the logits, so no gradient dies in a saturated sigmoid. Kingma & Welling 2013, appendix C.1.

    >>> px = likelihoods.Bernoulli(networks.Linear(2, 5), (5,))(torch.zeros(7, 2))
    >>> bool((px.log_prob(torch.ones(7, 5)).exp() < 1).all())  # a mass
    True
    """

    discrete = True
    values = ("binary",)

    def __init__(self, network: nn.Module, shape: Sequence[int], centred: bool = True) -> None:
        super().__init__(network, shape)
        self.centred = centred

    def start(self, x: Tensor, rows: int) -> None:
        """Let a perceptron begin at each entry's own share of ones, one half of a one in as many rows and one more.

        With `centred` False it begins where its weights are, as papers that say how they set them have it.
        """
        if self.centred and x.shape[1:] == self.shape and isinstance(self.network, MLP):
            share = (x.double().nansum(0) + 0.5) / ((~x.isnan()).sum(0) + 1)
            last: Any = self.network.layers[-1]
            last.bias.add_(share.logit().flatten())

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        logits = self.parameters_at(given, condition)
        return Independent(
            distributions.Bernoulli(logits=logits, validate_args=False), len(self.shape), validate_args=False
        )
