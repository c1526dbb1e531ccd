"""The variational mixture of posteriors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..conditional import Conditional
from ..distributions import Mixture, has_density
from ..errors import UsageError

if TYPE_CHECKING:
    from ..models.terms import Terms


class Vamp(Conditional):
    """p(z) = sum_c w_c q(z | u_c): the posterior itself at learned pseudo-inputs u_c (Tomczak & Welling 2018, eq. 9).

    With u the rows of the data it is the aggregated posterior, the prior that maximises the bound (eq. 7). The
    pseudo-inputs start on rows of the data, and after each step are brought back into the least and greatest value of
    each entry there. w_c = 1 / components, or learned. `posterior` is that of the model: shared, trained from both
    sides, saved once. Shapes: u (components, *shape).

    Raises UsageError for a posterior without a density, or one that reads a condition.

    >>> q = posteriors.Gaussian(networks.MLP(5, 4), 2)
    >>> p = priors.Vamp(q, (5,), components=3)
    >>> each = q(p.inputs).log_prob(torch.zeros(2))
    >>> torch.allclose(p().log_prob(torch.zeros(2)), each.exp().mean().log())
    True
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, posterior: nn.Module, shape: Sequence[int], components: int = 500, learned: bool = False
    ) -> None:
        super().__init__()
        if components < 1:
            raise UsageError(f"priors.Vamp: components must be at least 1, got {components}.")
        self.posterior, self.shape, self.components, self.learned = posterior, tuple(shape), components, learned
        self.latent_dim = getattr(posterior, "latent_dim", None)
        self.inputs = nn.Parameter(torch.rand(components, *self.shape))
        self.register_buffer("low", torch.zeros(self.shape))
        self.register_buffer("high", torch.ones(self.shape))
        if learned:
            self.logits = nn.Parameter(torch.zeros(components))
        self.updates = True

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(z); a condition does not move it."""
        components = self._at(self.inputs)
        if not has_density(components):
            raise UsageError(f"priors.Vamp needs a posterior with a density, got a {type(components).__name__}.")
        equal = self.inputs.new_full((self.components,), -math.log(self.components))
        log_weight = self.logits.log_softmax(0) if self.learned else equal
        return Mixture(log_weight, components, lambda k: self._at(self.inputs[k]))

    def _at(self, inputs: Tensor) -> Distribution:
        if any(getattr(module, "condition", 0) for module in self.posterior.modules()):
            raise UsageError("priors.Vamp: the posterior reads a condition, which pseudo-inputs do not have.")
        q: Distribution = self.posterior(inputs)
        return q

    @torch.no_grad()
    def start(self, x: Tensor, rows: int) -> None:
        """Put the pseudo-inputs on the first of these rows, what is left over evenly within their range."""
        x = x.nan_to_num()
        self.low.copy_(x.amin(0))
        self.high.copy_(x.amax(0))
        some = min(len(x), self.components)
        self.inputs.copy_(self.low + (self.high - self.low) * self.inputs.clamp(0, 1))
        self.inputs[:some] = x[:some]

    @torch.no_grad()
    def update(self, terms: Terms | None = None) -> None:
        """Bring the pseudo-inputs back into the range of the data, after a step."""
        self.inputs.clamp_(self.low, self.high)
