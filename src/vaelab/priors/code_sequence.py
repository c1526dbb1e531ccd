"""An autoregressive prior over the codes of a quantiser."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Distribution

from ..conditional import Conditional
from ..distributions import CodeSequence as CodeSequenceDistribution
from ..errors import UsageError
from ..networks import MADE
from ..posteriors import Nearest, ResidualNearest


class CodeSequence(Conditional):
    """p(k) = prod_g p(k_g | k_1 .. k_g-1), by one masked network with `hidden` units that reads the codes themselves.

    van den Oord et al. 2017, section 3.3, where it is fitted after training: `vaelab refit RUN --prior code-sequence`.
    It shares the codebook of `posterior`, a posteriors.Nearest or posteriors.ResidualNearest (each level then
    given the coarser ones), and does not move it.

    >>> q = posteriors.Nearest(networks.MLP(5, 6), 6, codes=16)
    >>> p = priors.CodeSequence(q)()
    >>> p.log_prob(q(torch.zeros(7, 5)).value).shape
    torch.Size([7])
    """

    def __init__(self, posterior: nn.Module, hidden: int = 128) -> None:
        super().__init__()
        if not isinstance(posterior, (Nearest, ResidualNearest)):
            needs = "priors.CodeSequence needs the posterior 'nearest' or 'residual-nearest'"
            raise UsageError(f"{needs}, got a {type(posterior).__name__}.")
        if hidden < 1:
            raise UsageError(f"priors.CodeSequence: hidden must be at least 1, got {hidden}.")
        self.posterior, self.hidden, self.latent_dim = posterior, hidden, posterior.latent_dim
        self.network = MADE(posterior.latent_dim, posterior.codes, hidden)

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(z); a condition does not move it."""
        return CodeSequenceDistribution(self.posterior.codebook.detach(), self.network, self.posterior.groups)
