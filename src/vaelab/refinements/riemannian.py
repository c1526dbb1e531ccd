"""Geometry-aware Hamiltonian VAE: leapfrog steps under a metric that is learned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..conditional import bounded
from ..distributions.reparameterize import register_draw
from ..errors import UsageError
from ..noise import Noise
from .base import LogJoint, Refinement, diagonal, gradients, plain
from .evolved import Evolved, evolve

LARGEST = 0.2  # a step: implicit steps are found by iteration, which larger ones would not contract


@dataclass
class Metric:
    """G(z)^-1 = sum_i A_i exp(-|z - c_i|² / T²) + floor I: how far momenta carry, and how much at each z.

    Shapes: centres c (C, D), spread A (C, D, D), z and r (*lead, D).
    """

    centres: Tensor
    spread: Tensor
    temperature: float
    floor: float

    def weights(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return exp(-|z - c_i|² / T²), (*lead, C), and z - c_i, (*lead, C, D)."""
        apart = z.unsqueeze(-2) - self.centres
        return (-apart.square().sum(-1) / self.temperature**2).exp(), apart

    def inverse(self, z: Tensor) -> Tensor:
        """Return G(z)^-1, (*lead, D, D)."""
        sum_ = (self.weights(z)[0] @ self.spread.flatten(1)).unflatten(-1, self.spread.shape[1:])
        return sum_ + self.floor * torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)

    def velocity(self, z: Tensor, r: Tensor) -> Tensor:
        """G(z)^-1 r, the derivative of r' G^-1 r / 2 in r."""
        return (self.inverse(z) @ r.unsqueeze(-1)).squeeze(-1)

    def pull(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `force` needs of z: weights over T², z - c_i, and tr(G A_i)."""
        weight, apart = self.weights(z)
        g = torch.cholesky_inverse(torch.linalg.cholesky(self.inverse(z)))
        return weight / self.temperature**2, apart, g.flatten(-2) @ self.spread.flatten(1).mT

    def force(self, at: tuple[Tensor, Tensor, Tensor], r: Tensor) -> Tensor:
        """d/dz [log |G| / 2 + r' G^-1 r / 2] = sum_i w_i / T² (tr(G A_i) - r' A_i r) (z - c_i)."""
        weight, apart, trace = at
        energy = torch.einsum("...d,cde,...e->...c", r, self.spread, r)
        return ((weight * (trace - energy)).unsqueeze(-1) * apart).sum(-2)


class Riemannian(Refinement):
    """(z, r) by generalised leapfrog steps on log p(x, z) - log N(r; 0, G(z)), r_0 ~ N(0, G(z_0)) / sqrt(beta_0).

    Chadebec, Mantoux & Allassonniere 2020 (RHVAE), Algorithm 1: as `hamiltonian`, with a learned metric G (their eq.
    10). They place one term of it at each training row, by a network; here `components` centres and matrices are
    parameters. The steps are implicit (their eq. 7); each is found by `iterations` of its fixed point, and preserves
    volume as far as these converge, so that E[w] = p(x): log q = log q(z_0) + log N(r_0 sqrt(beta_0); 0, G(z_0)) -
    log N(r; 0, G(z)) at a draw, and unknown elsewhere. `temperature` T is the reach of a centre (0: sqrt(2
    latent_dim)), `floor` what is left of G^-1 far from all. Starts from posteriors.Gaussian; raises UsageError for
    another.

    >>> model, _ = recipes.rhvae((5,), 2)
    >>> model.terms(torch.zeros(7, 5), samples=3).log_w.shape
    torch.Size([3, 7])
    """

    def __init__(
        self,
        latent_dim: int,
        leapfrog: int = 3,
        step: float = 0.05,
        tempering: float = 0.5,
        components: int = 10,
        temperature: float = 0.0,
        floor: float = 0.01,
        iterations: int = 10,
    ) -> None:
        super().__init__()
        counts = min(latent_dim, leapfrog, components, iterations)
        if counts < 1 or not 0 < step < LARGEST or not 0 < tempering < 1 or not temperature >= 0 or not floor > 0:
            raise UsageError(
                "Riemannian: latent_dim, leapfrog, components and iterations are at least 1, step is between 0 and "
                f"{LARGEST}, tempering between 0 and 1, temperature at least 0, floor above 0; got {latent_dim}, "
                f"{leapfrog}, {components}, {iterations}, {step}, {tempering}, {temperature}, {floor}."
            )
        self.latent_dim, self.leapfrog, self.step, self.tempering = latent_dim, leapfrog, step, tempering
        self.components, self.temperature, self.floor, self.iterations = components, temperature, floor, iterations
        self.raw_step = nn.Parameter(torch.tensor(math.log(step / (LARGEST - step))))
        self.raw_beta = nn.Parameter(torch.tensor(math.log(tempering / (1 - tempering))))
        self.centres = nn.Parameter(torch.randn(components, latent_dim))
        self.raw_scale = nn.Parameter(torch.full((components, latent_dim), -0.5 * math.log(components)))
        self.below = nn.Parameter(torch.zeros(components, latent_dim, latent_dim))

    def metric(self) -> Metric:
        """Return the metric as it stands: A_i = L_i L_i', the logarithms of L_i's diagonal bounded."""
        lower = self.below.tril(-1) + torch.diag_embed(bounded(self.raw_scale).exp())
        reach = self.temperature or math.sqrt(2 * self.latent_dim)
        return Metric(_usable(self.centres), _usable(lower @ lower.mT), reach, self.floor)

    def forward(self, q: Distribution, log_joint: LogJoint, noise: Noise) -> Distribution:
        """Return the distribution of the evolved z."""
        loc, scale = diagonal(q, "riemannian")
        step, beta = _usable(LARGEST * self.raw_step.sigmoid()), _usable(self.raw_beta.sigmoid())
        return Geodesic(loc, scale, log_joint, self.metric(), step, beta, self.leapfrog, self.iterations)


def _usable(value: Tensor) -> Tensor:
    """Return what the steps may be computed with where gradients are switched off: they need their own, in z."""
    return value if torch.is_grad_enabled() else plain(value.detach())


class Geodesic(Evolved):
    """z after the generalised leapfrog steps under a metric."""

    name = "riemannian"

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        log_joint: LogJoint,
        metric: Metric,
        step: Tensor,
        beta: Tensor,
        leapfrog: int,
        iterations: int,
    ) -> None:
        super().__init__(loc, scale, log_joint)
        self.metric, self.step, self.beta, self.leapfrog, self.iterations = metric, step, beta, leapfrog, iterations

    def push(self, e: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and its log q for standard noise e behind z_0 and g behind the momentum, each (K, B, Z)."""
        with gradients() as keep:
            z, root = self.loc + self.scale * e, self.beta.rsqrt()  # root = 1 / sqrt(beta_0)
            log_q = -0.5 * (e.square() + math.log(2 * math.pi)).sum(-1) - self.scale.log().sum(-1)
            lower = torch.linalg.cholesky(self.metric.inverse(z))  # G = L^-T L^-1
            v = torch.linalg.solve_triangular(lower.mT, g.unsqueeze(-1), upper=True).squeeze(-1)
            r, heat, slope = v * root, root, self.slope(z, keep)
            log_q = log_q - 0.5 * g.square().sum(-1) + lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            for k in range(1, self.leapfrog + 1):
                z, r, slope = self.move(z, r, slope, keep)
                cooler = root + (1 - root) * (k / self.leapfrog) ** 2  # 1 / sqrt(beta_k)
                r, heat = r * (cooler / heat), cooler
            lower = torch.linalg.cholesky(self.metric.inverse(z))
            last = (lower.mT @ r.unsqueeze(-1)).squeeze(-1)
            log_q = log_q + 0.5 * last.square().sum(-1) - lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return (z, log_q) if keep else (z.detach(), log_q.detach())

    def move(self, z: Tensor, r: Tensor, slope: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
        """One generalised leapfrog step from z and r, `slope` the gradient of log p(x, z) there; return all three."""
        half, metric = 0.5 * self.step, self.metric
        pushed, at, middle = r + half * slope, metric.pull(z), r
        for _ in range(self.iterations):
            middle = pushed - half * metric.force(at, middle)
        begun = z + half * metric.velocity(z, middle)
        for _ in range(self.iterations):
            z = begun + half * metric.velocity(z, middle)
        slope = self.slope(z, keep)
        return z, middle + half * (slope - metric.force(metric.pull(z), middle)), slope


register_draw(Geodesic)(evolve)
