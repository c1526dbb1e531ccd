"""The posterior of relaxed categories."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution

from ..conditional import bounded
from ..distributions import Concrete as ConcreteDistribution
from ..errors import UsageError
from .amortized import Amortized


class Concrete(Amortized):
    """q(z | x): V variables of C relaxed categories, z_v = softmax((logits_v(x) + Gumbel) / temperature).

    Maddison et al. 2017, eq. 10; Jang et al. 2017, eq. 1. latent_dim = V C; `categories` 0 is one variable of them all.
    With the prior `concrete` the bound is one on log p(x) of the model whose z is relaxed, in training as in
    evaluation. The KL between the two categorical laws, which Jang et al. put in its place, bounds neither model's
    log p(x) and is not offered. Logits are kept within ±10. Raises UsageError where `categories` does not divide
    latent_dim.

    >>> q = posteriors.Concrete(networks.MLP(5, 6), 6, categories=3)(torch.zeros(7, 5))
    >>> distributions.draw(q, 2, Noise.seeded(0)).unflatten(-1, (2, 3)).sum(-1).mean().item()
    1.0
    """

    def __init__(self, network: nn.Module, latent_dim: int, categories: int = 0, temperature: float = 2 / 3) -> None:
        super().__init__(network, latent_dim)
        each = categories or latent_dim
        if each < 2 or latent_dim % each or not temperature > 0:
            raise UsageError(
                "posteriors.Concrete: categories is at least 2 and divides latent_dim, temperature is above 0; "
                f"got categories {categories}, latent_dim {latent_dim}, temperature {temperature}."
            )
        self.categories, self.temperature = categories, temperature
        self.shape = (latent_dim // each, each)

    @classmethod
    def outputs(cls, latent_dim: int, **arguments: Any) -> int:
        """Return latent_dim: the logits."""
        return latent_dim

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return q(z | x) for x of shape (B, *X)."""
        assert given is not None
        logits = bounded(self.parameters_at(given, condition)).unflatten(-1, self.shape)
        return ConcreteDistribution(logits, self.temperature)
