"""A Gaussian prior that moves with the condition."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from ..conditional import Conditional, bounded
from ..errors import UsageError


class Conditioned(Conditional):
    """p(z | c) = N(z; M c + a, diag exp(2 (S c + b))), at first N(0, I).

    For classes c is a unit vector, and each class has a mean and deviations of its own (Sohn, Lee & Yan 2015, eq. 4:
    the prior network). c (B, condition) is what the model is given: batch shape (B,), event shape (latent_dim,).

    >>> priors.Conditioned(2, condition=3)(torch.eye(3)).batch_shape
    torch.Size([3])
    """

    def __init__(self, latent_dim: int, condition: int) -> None:
        super().__init__()
        if latent_dim < 1 or condition < 1:
            raise UsageError(
                "priors.Conditioned: needs latent_dim >= 1 and a condition (train with --condition), "
                f"got {latent_dim} and {condition}."
            )
        self.latent_dim, self.condition = latent_dim, condition
        self.map = nn.Linear(condition, 2 * latent_dim)
        nn.init.zeros_(self.map.weight)
        nn.init.zeros_(self.map.bias)

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(z | c) for c of shape (B, condition), which is all that a prior is given."""
        if given is None:
            raise UsageError("priors.Conditioned: this model must be given its condition, (rows, numbers).")
        loc, raw = self.map(given.to(self.map.weight.dtype)).chunk(2, -1)
        return Independent(Normal(loc, bounded(raw).exp(), validate_args=False), 1, validate_args=False)
