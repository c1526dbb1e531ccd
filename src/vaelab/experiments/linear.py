"""z ~ N(0, I), x | z ~ N(W z + m, s² I) with orthogonal columns of W: everything about it is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from .. import likelihoods, networks, posteriors, priors
from ..models import VAE

F64 = torch.float64


@dataclass(frozen=True)
class Process:
    """A linear-Gaussian process: W (d, q) with orthogonal columns, m (d,), s. Its exact posterior is diagonal."""

    w: Tensor
    m: Tensor
    s: float

    @classmethod
    def random(cls, columns: int, latents: int, generator: torch.Generator, s: float = 0.7) -> Process:
        """Return a process with columns of W of lengths from 1.5 down to 0.7."""
        square = torch.randn(columns, latents, generator=generator, dtype=F64)
        lengths = torch.linspace(1.5, 0.7, latents, dtype=F64)
        m = torch.randn(columns, generator=generator, dtype=F64)
        return cls(torch.linalg.qr(square)[0] * lengths, m, s)

    def rows(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n draws of x, (n, d)."""
        z = torch.randn(n, self.w.shape[1], generator=generator, dtype=F64)
        return z @ self.w.T + self.m + self.s * torch.randn(n, len(self.m), generator=generator, dtype=F64)

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x) = log N(x; m, W W' + s² I), (N,)."""
        return MultivariateNormal(self.m, self.w @ self.w.T + self.s**2 * torch.eye(len(self.m), dtype=F64)).log_prob(x)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean (N, q) and deviations (N, q) of p(z | x)."""
        precision = 1 + self.w.square().sum(0) / self.s**2
        mean = (x - self.m) @ self.w / self.s**2 / precision
        return mean, precision.rsqrt().expand_as(mean)

    def model(self, *, per_row: int) -> VAE:
        """Return this process as a model in float64, with a Gaussian q of its own for each of so many rows.

        Only q's numbers are to be learned: (mu, raw log sigma) of each row, which start at the prior.
        """
        columns, latents = self.w.shape
        decoder = networks.Linear(latents, columns)
        model = VAE(
            prior=priors.Gaussian(latents),
            posterior=posteriors.Gaussian(networks.PerRow(per_row, 2 * latents), latents),
            likelihood=likelihoods.Gaussian(decoder, (columns,), scale=self.s),
        ).double()
        model.likelihood.requires_grad_(False)
        decoder.map.weight.copy_(self.w)
        decoder.map.bias.copy_(self.m)
        return model


def exact_noise(rows: int, latents: int) -> Tensor:
    """Return 2 q draws, (2 q, rows, q), whose average of any quadratic is its mean under N(0, I)."""
    unit = math.sqrt(latents) * torch.eye(latents, dtype=F64)
    return torch.cat([unit, -unit]).unsqueeze(1).expand(-1, rows, -1)
