"""The prior over codes of a quantiser."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..conditional import Conditional
from ..distributions import CodeMasses
from ..errors import UsageError
from ..posteriors import Nearest, ResidualNearest


class Codes(Conditional):
    """p(k) = prod_g p_g(k_g) over the codes of a quantiser: uniform, 1 / codes each (van den Oord et al. 2017, 3.1).

    With `learned`, masses of each place g, trained with the rest. It shares the codebook of `posterior`, which must be
    a posteriors.Nearest or posteriors.ResidualNearest, whose places are its levels.

    >>> q = posteriors.Nearest(networks.MLP(5, 6), 6, codes=16)
    >>> p = priors.Codes(q)()
    >>> round(p.log_prob(q(torch.zeros(1, 5)).value).item(), 4)  # three codes, log(1 / 16) each
    -8.3178
    """

    def __init__(self, posterior: nn.Module, learned: bool = False) -> None:
        super().__init__()
        if not isinstance(posterior, (Nearest, ResidualNearest)):
            needs = "priors.Codes needs the posterior 'nearest' or 'residual-nearest'"
            raise UsageError(f"{needs}, got a {type(posterior).__name__}.")
        self.posterior, self.learned, self.latent_dim = posterior, learned, posterior.latent_dim
        if learned:
            self.logits = nn.Parameter(torch.zeros(posterior.groups, posterior.codes))

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(z); a condition does not move it."""
        q = self.posterior
        uniform = q.codebook.new_full((q.groups, q.codes), -math.log(q.codes))
        return CodeMasses(q.codebook.detach(), self.logits.log_softmax(-1) if self.learned else uniform)
