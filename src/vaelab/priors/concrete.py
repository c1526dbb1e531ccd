"""The prior over relaxed categories."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..conditional import Conditional
from ..distributions import Concrete as ConcreteDistribution
from ..errors import UsageError
from ..posteriors import Concrete as ConcretePosterior


class Concrete(Conditional):
    """p(z): relaxed categories of equal probability, V variables of C as the posterior has them.

    Maddison et al. 2017, section 3.3 and appendix C. `temperature` is its own; `posterior` must be a
    posteriors.Concrete.

    >>> q = posteriors.Concrete(networks.MLP(5, 6), 6, categories=3)
    >>> priors.Concrete(q)().event_shape
    torch.Size([6])
    """

    logits: Tensor

    def __init__(self, posterior: nn.Module, temperature: float = 0.5) -> None:
        super().__init__()
        if not isinstance(posterior, ConcretePosterior):
            raise UsageError(f"priors.Concrete needs the posterior 'concrete', got a {type(posterior).__name__}.")
        if not temperature > 0:
            raise UsageError(f"priors.Concrete: temperature must be above 0, got {temperature}.")
        self.posterior, self.temperature, self.latent_dim = posterior, temperature, posterior.latent_dim
        self.register_buffer("logits", torch.zeros(posterior.shape), persistent=False)

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(z); a condition does not move it."""
        return ConcreteDistribution(self.logits, self.temperature)
