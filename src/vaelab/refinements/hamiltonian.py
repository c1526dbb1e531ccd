"""Hamiltonian VAE: draws of q0 evolve by leapfrog steps on the log joint density."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions.reparameterize import register_draw
from ..errors import UsageError
from ..noise import Noise
from .base import LogJoint, Refinement, diagonal, gradients
from .evolved import Evolved, evolve

LARGEST = 0.5  # a step


class Hamiltonian(Refinement):
    """(z, r) = leapfrog^K(z_0, r_0), z_0 ~ q(z | x), r_0 = g / sqrt(beta_0), g ~ N(0, I): weights keep E[w] = p(x).

    Caterini, Doucet & Sejdinovic 2018, Algorithm 1: K = `leapfrog` steps on log p(x, z), after each of which the
    momentum is cooled by sqrt(beta_(k-1) / beta_k), beta rising from beta_0 to 1 (quadratic tempering, eq. 8). The map
    is deterministic with Jacobian beta_0^(D/2), so a draw's log q is log q(z_0) + log N(g) - log N(r). It is the
    density of a draw with its momentum: of no other z is it known, and what asks for one is refused by name. The step
    of each dimension (0 to 0.5, first `step`) and beta_0 (first `tempering`) are learned. Starts from
    posteriors.Gaussian; raises UsageError for another.

    >>> model, _ = recipes.hamiltonian((5,), 2)
    >>> model.terms(torch.zeros(7, 5), samples=3).log_w.shape
    torch.Size([3, 7])
    """

    def __init__(self, latent_dim: int, leapfrog: int = 3, step: float = 0.1, tempering: float = 0.5) -> None:
        super().__init__()
        if latent_dim < 1 or leapfrog < 1 or not 0 < step < LARGEST or not 0 < tempering < 1:
            raise UsageError(
                "Hamiltonian: latent_dim and leapfrog are at least 1, step is between 0 and 0.5, tempering between 0 "
                f"and 1; got {latent_dim}, {leapfrog}, {step}, {tempering}."
            )
        self.latent_dim, self.leapfrog, self.step, self.tempering = latent_dim, leapfrog, step, tempering
        self.raw_step = nn.Parameter(torch.full((latent_dim,), math.log(step / (LARGEST - step))))
        self.raw_beta = nn.Parameter(torch.tensor(math.log(tempering / (1 - tempering))))

    def forward(self, q: Distribution, log_joint: LogJoint, noise: Noise) -> Distribution:
        """Return the distribution of the evolved z."""
        loc, scale = diagonal(q, "hamiltonian")
        return Leapfrog(
            loc, scale, log_joint, LARGEST * self.raw_step.sigmoid(), self.raw_beta.sigmoid(), self.leapfrog
        )


class Leapfrog(Evolved):
    """z after the steps: log q = log q(z_0) + log N(g; 0, I) - log N(r; 0, I)."""

    name = "hamiltonian"

    def __init__(
        self, loc: Tensor, scale: Tensor, log_joint: LogJoint, step: Tensor, beta: Tensor, leapfrog: int
    ) -> None:
        super().__init__(loc, scale, log_joint)
        self.step, self.beta, self.leapfrog = step, beta, leapfrog

    def push(self, e: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and its log q for standard noise e behind z_0 and g behind the momentum, each (K, B, Z)."""
        with gradients() as keep:
            z, root = self.loc + self.scale * e, self.beta.rsqrt()  # root = 1 / sqrt(beta_0)
            log_q = -0.5 * (e.square() + math.log(2 * math.pi)).sum(-1) - self.scale.log().sum(-1)
            r = g * root
            slope = self.slope(z, keep)
            heat = root
            for k in range(1, self.leapfrog + 1):
                r = r + 0.5 * self.step * slope
                z = z + self.step * r
                slope = self.slope(z, keep)
                r = r + 0.5 * self.step * slope
                cooler = root + (1 - root) * (k / self.leapfrog) ** 2  # 1 / sqrt(beta_k)
                r, heat = r * (cooler / heat), cooler
            log_q = log_q + 0.5 * (r.square() - g.square()).sum(-1)
        return (z, log_q) if keep else (z.detach(), log_q.detach())


register_draw(Leapfrog)(evolve)
