"""The covariance of the aggregated posterior pulled to the identity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..models import Terms
from ..shapes import Float
from .base import BoundObjective, codes
from .bounds import elbo


def aggregated_covariance(q: Distribution, within: bool) -> Float[Tensor, "Z Z"]:
    """Cov_x[E[z | x]] over the batch, and with `within` also E_x[Cov[z | x]]: then the covariance of q(z)."""
    centred = q.mean - q.mean.mean(0)
    covariance = centred.mT @ centred / len(centred)
    if not within:
        return covariance
    full = getattr(q, "covariance_matrix", None)
    return covariance + (torch.diag_embed(q.variance) if full is None else full).mean(0)


class DIP(BoundObjective):
    """ELBO - off_diagonal sum_{i != j} C_ij² - diagonal sum_i (C_ii - 1)² (DIP-VAE, Kumar et al. 2018, eq. 6 and 7).

    C is the covariance over the batch of the posterior means (`kind` "i") or of z itself ("ii"), so rows are coupled.

    >>> model, objective = recipes.dip_vae((5,), 2)
    >>> losses, terms = objective(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> losses["model"].shape
    torch.Size([7])
    """

    couples_rows = True

    def __init__(self, kind: str = "ii", off_diagonal: float = 10.0, diagonal: float = 10.0, samples: int = 1) -> None:
        super().__init__()
        self.kind, self.off_diagonal, self.diagonal, self.samples = kind, off_diagonal, diagonal, samples
        self.require(
            kind=(kind in ("i", "ii"), "'i' or 'ii'"),
            off_diagonal=(off_diagonal >= 0, "at least 0"),
            diagonal=(diagonal >= 0, "at least 0"),
            samples=(samples >= 1, "at least 1"),
        )

    def bound(self, terms: Terms, step: int) -> Float[Tensor, " B"]:
        """Return the bound less the penalty of the batch, (B,)."""
        codes(terms, self)
        assert not isinstance(terms.q, dict)
        excess = aggregated_covariance(terms.q, self.kind == "ii") - torch.eye(terms.q.event_shape[0]).to(terms.x)
        on = excess.diagonal().square().sum()
        off = excess.square().sum() - on
        return elbo(terms) - self.off_diagonal * off - self.diagonal * on
