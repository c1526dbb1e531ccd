"""The quantiser of VQ-VAE."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import NearestCode
from ..errors import UsageError
from .amortized import Amortized
from .codebook import follow, hold, put_on

if TYPE_CHECKING:
    from ..models.terms import Terms


class Nearest(Amortized):
    """q(k | x) = 1 for k = argmin_j |network(x) - e_j|²: a latent is latent_dim / width codes of one codebook.

    van den Oord et al. 2017, eq. 1-2. With the prior `codes`, log p(x | e_k) + log p(k) <= log p(x) is a bound like any
    other: q is a point mass, but on a discrete k, so log q = 0. With another prior there is no bound, and what needs
    one says so. Many draws are all the same, so more of them do not tighten it.

    `width` 0 is 4, 2 or 1, the largest that divides latent_dim. `ema` > 0: each code is a running mean of what was
    assigned to it (A.1, where it is 0.99), first a row of the data; one whose running count of uses in a step falls
    below `revive` moves to the encoded piece farthest from its code. ema = 0: codes are parameters, moved by the
    codebook term of objectives.Quantised. Shapes: x (B, *X), z (K, B, latent_dim).

    >>> q = posteriors.Nearest(networks.MLP(5, 6), 6, codes=16)(torch.zeros(7, 5))
    >>> q.index.shape  # three codes of two dimensions
    torch.Size([7, 3])
    """

    codebook: Tensor
    count: Tensor
    total: Tensor

    def __init__(
        self,
        network: nn.Module,
        latent_dim: int,
        codes: int = 64,
        width: int = 0,
        ema: float = 0.95,
        revive: float = 0.05,
    ) -> None:
        super().__init__(network, latent_dim)
        if codes < 2 or width < 0 or not 0 <= ema < 1 or not 0 <= revive < 1:
            raise UsageError(
                "posteriors.Nearest: codes is at least 2, width at least 0, ema and revive from 0 to below 1; "
                f"got {codes}, {width}, {ema}, {revive}."
            )
        wide = width or math.gcd(latent_dim, 4)
        if latent_dim % wide:
            raise UsageError(f"posteriors.Nearest: latent_dim {latent_dim} is no multiple of the codes' width {width}.")
        self.codes, self.width, self.ema, self.revive = codes, width, ema, revive
        self.groups = latent_dim // wide
        hold(self, torch.randn(codes, wide), ema)
        self.updates = self.couples_rows = ema > 0

    @classmethod
    def outputs(cls, latent_dim: int, **arguments: Any) -> int:
        """Return latent_dim: a place for each code."""
        return latent_dim

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return the point mass on the codes nearest to network(x), x (B, *X)."""
        assert given is not None
        return NearestCode(self.parameters_at(given, condition), self.codebook)

    @torch.no_grad()
    def start(self, x: Tensor, rows: int) -> None:
        """Put the codes on encoded pieces of these rows, evenly spaced among them, as far as they go."""
        if getattr(self.network, "condition", 0):
            return
        put_on(self.codebook, self.network(x.nan_to_num()).reshape(-1, self.codebook.shape[1]))
        if self.ema:
            self.total.copy_(self.codebook)
            self.count.fill_(1)

    def update(self, terms: Terms) -> None:
        """Move each code to the running mean of what was assigned to it; revive the dead."""
        q = terms.q["z"] if isinstance(terms.q, dict) else terms.q
        assert isinstance(q, NearestCode)
        pieces = q.encoded.reshape(-1, self.codebook.shape[1])
        follow(self.codebook, self.count, self.total, pieces, q.index.reshape(-1), ema=self.ema, revive=self.revive)
