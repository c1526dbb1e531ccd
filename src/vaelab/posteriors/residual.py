"""The quantiser in levels, each on what the one before left over: HRQ-VAE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import NearestCode
from ..distributions.codes import nearest
from ..errors import UsageError
from .amortized import Amortized
from .codebook import follow, hold, put_on

if TYPE_CHECKING:
    from ..models.terms import Terms

SHRINK = 0.5  # from a level to the next, before there are data


class ResidualNearest(Amortized):
    """q(k_1 .. k_D | x) = 1 for k_d = argmin_j |r_d - e_dj|, r_1 = network(x), r_(d+1) = r_d - e_(d k_d).

    Hosking, Tang & Lapata 2022, section 3.1, with the nearest code of each level in place of a relaxed draw: the first
    level is coarse, each later one says more. z holds the codes of the `depth` levels side by side, each of dimension
    latent_dim / depth; their sum, which the paper decodes, is one affine map of it. As with `nearest`, log q = 0 and
    with a prior over codes there is a bound. Straight through goes the mean of the gradients at the levels, which is
    that at the sum for a decoder that reads the sum.

    `depth` 0 is 4, 3, 2 or 1, the largest that divides latent_dim. ema, revive: as for posteriors.Nearest, level by
    level. Shapes: x (B, *X), z (K, B, latent_dim), codebook (depth, codes, latent_dim / depth).

    >>> q = posteriors.ResidualNearest(networks.MLP(5, 2), 6, codes=16)(torch.zeros(7, 5))
    >>> q.index.shape, q.event_shape  # three levels of two dimensions
    (torch.Size([7, 3]), torch.Size([6]))
    """

    codebook: Tensor
    count: Tensor
    total: Tensor

    def __init__(
        self,
        network: nn.Module,
        latent_dim: int,
        codes: int = 64,
        depth: int = 0,
        ema: float = 0.95,
        revive: float = 0.05,
    ) -> None:
        super().__init__(network, latent_dim)
        if codes < 2 or depth < 0 or not 0 <= ema < 1 or not 0 <= revive < 1:
            raise UsageError(
                "posteriors.ResidualNearest: codes is at least 2, depth at least 0, ema and revive from 0 to below 1; "
                f"got {codes}, {depth}, {ema}, {revive}."
            )
        self.groups = levels(latent_dim, depth)
        if latent_dim % self.groups:
            raise UsageError(f"posteriors.ResidualNearest: latent_dim {latent_dim} is no multiple of depth {depth}.")
        self.codes, self.depth, self.ema, self.revive = codes, depth, ema, revive
        shrink = SHRINK ** torch.arange(self.groups).reshape(-1, 1, 1)
        hold(self, shrink * torch.randn(self.groups, codes, latent_dim // self.groups), ema)
        self.updates = self.couples_rows = ema > 0

    @classmethod
    def outputs(cls, latent_dim: int, **arguments: Any) -> int:
        """Return latent_dim / depth: what the codes of all levels sum to."""
        return max(1, latent_dim // levels(latent_dim, arguments.get("depth", 0)))

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return the point mass on the codes of network(x), x (B, *X), level by level."""
        assert given is not None
        residuals = self.residuals(self.parameters_at(given, condition))
        return NearestCode(torch.cat(residuals, -1), self.codebook, 1 / self.groups)

    def residuals(self, encoded: Tensor) -> list[Tensor]:
        """Return what is left before each level, (*lead, W) each, with the gradient of `encoded` (*lead, W)."""
        left = [encoded]
        for book in self.codebook.detach()[:-1]:
            left.append(left[-1] - book[nearest(left[-1].detach(), book)])
        return left

    @torch.no_grad()
    def start(self, x: Tensor, rows: int) -> None:
        """Put the codes of each level on what the levels before leave of these rows, evenly spaced among them."""
        if getattr(self.network, "condition", 0):
            return
        left = self.network(x.nan_to_num())
        for book in self.codebook:
            put_on(book, left)
            left = left - book[nearest(left, book)]
        if self.ema:
            self.total.copy_(self.codebook)
            self.count.fill_(1)

    def update(self, terms: Terms) -> None:
        """Move the codes of each level to the running mean of the residuals assigned to them; revive the dead."""
        q = terms.q["z"] if isinstance(terms.q, dict) else terms.q
        assert isinstance(q, NearestCode)
        residuals = q.encoded.unflatten(-1, (self.groups, -1)).reshape(-1, self.groups, self.codebook.shape[-1])
        index = q.index.reshape(-1, self.groups)
        for d, (book, count, total) in enumerate(zip(self.codebook, self.count, self.total)):
            follow(book, count, total, residuals[:, d], index[:, d], ema=self.ema, revive=self.revive)


def levels(latent_dim: int, depth: int) -> int:
    """Return depth; for 0 the largest of 4, 3, 2 and 1 that divides latent_dim."""
    return depth or next(d for d in (4, 3, 2, 1) if latent_dim % d == 0)
