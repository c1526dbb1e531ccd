"""Distances between the aggregated posterior q(z) and the prior, from draws of both."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from ..models import Model, Terms
from ..noise import Noise
from ..shapes import Float
from .base import Objective, codes
from .bounds import elbo
from .critic import prior_draws

KERNELS = ("imq", "rbf")


def kernel_matrix(
    a: Float[Tensor, "K A Z"], b: Float[Tensor, "K B Z"], kernel: str, scale: float
) -> Float[Tensor, "K A B"]:
    """k(a_i, b_j) with u = ||a_i - b_j||² / (2 Z scale²): "imq" 1 / (1 + u), "rbf" exp(-u).

    2 Z is the mean of ||z - z'||² under N(0, I) (Tolstikhin et al. 2018, section 4).
    """
    u = (a.unsqueeze(2) - b.unsqueeze(1)).square().sum(-1) / (2 * a.shape[-1] * scale**2)
    return 1 / (1 + u) if kernel == "imq" else (-u).exp()


def mmd(
    a: Float[Tensor, "K B Z"], b: Float[Tensor, "K B Z"], kernel: str = "imq", scale: float = 1.0
) -> Float[Tensor, "K B"]:
    """The part of each row in the unbiased estimate of MMD²(a, b), which is their mean (Gretton et al. 2012, eq. 4).

    >>> z = torch.randn(1, 7, 2)
    >>> objectives.mmd(z, z + 100).mean() > 0.5
    tensor(True)
    """
    others = max(1, a.shape[1] - 1)
    within = sum((kernel_matrix(v, v, kernel, scale).sum(2) - 1) / others for v in (a, b))  # k(z, z) = 1
    between = kernel_matrix(a, b, kernel, scale)
    return within - between.mean(2) - between.mean(1)


def sliced_wasserstein(
    a: Float[Tensor, "K B Z"], b: Float[Tensor, "K B Z"], directions: Float[Tensor, "P Z"]
) -> Float[Tensor, " K"]:
    """The squared 2-Wasserstein distance of the projections, averaged over directions of length 1.

    >>> z = torch.randn(1, 7, 2)
    >>> objectives.sliced_wasserstein(z, z + 1, torch.eye(2))
    tensor([1.])
    """
    along = [(v @ directions.mT).sort(1).values for v in (a, b)]
    return (along[0] - along[1]).square().mean((1, 2))


class _Discrepancy(Objective):
    """log p(x | z) - beta KL(q(z | x) || p(z)) - weight D(q(z), p(z)), D from draws."""

    couples_rows = True

    def __init__(self, weight: float, beta: float, samples: int) -> None:
        super().__init__()
        self.weight, self.beta, self.samples = weight, beta, samples
        self.require(
            weight=(weight >= 0, "at least 0"), beta=(beta >= 0, "at least 0"), samples=(samples >= 1, "at least 1")
        )

    @abstractmethod
    def distance(self, z: Float[Tensor, "K B Z"], prior: Float[Tensor, "K B Z"], noise: Noise) -> Float[Tensor, " B"]:
        """Return the part of each row in D, (B,), whose mean is D."""

    def forward(
        self,
        model: Model,
        x: Float[Tensor, " B *X"],
        *,
        noise: Noise,
        step: int,
        observed: Tensor | None = None,
        condition: Float[Tensor, "B C"] | None = None,
    ) -> tuple[dict[str, Tensor], Terms]:
        """Return {"model": the loss of each row} and the terms."""
        terms = model.terms(x, samples=self.samples, observed=observed, condition=condition, noise=noise)
        z = codes(terms, self)
        # a point mass has no KL, and needs none where its weight is 0
        fit = terms.mean(terms.log_px) if self.beta == 0 else elbo(terms, self.beta)
        return {"model": self.weight * self.distance(z, prior_draws(terms, noise), noise) - fit}, terms


class MMD(_Discrepancy):
    """log p(x | z) - beta KL(q(z | x) || p(z)) - weight MMD²(q(z), p(z)): WAE-MMD at beta = 0, InfoVAE above it.

    Tolstikhin et al. 2018, Alg. 2, with lambda = `weight`; Zhao, Song & Ermon 2019, eq. 6, with 1 - alpha = `beta` and
    alpha + lambda - 1 = `weight`. The estimate over the batch is unbiased and couples rows. `kernel`: "imq" or "rbf",
    its width `scale` times sqrt(2 Z). MMD² is at most 2 and stands beside nats per row: hence a large `weight`.

    >>> model, objective = recipes.wae_mmd((5,), 2)
    >>> losses, terms = objective(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> losses["model"].shape
    torch.Size([7])
    """

    def __init__(
        self, weight: float = 1000.0, beta: float = 0.0, kernel: str = "imq", scale: float = 1.0, samples: int = 1
    ) -> None:
        super().__init__(weight, beta, samples)
        self.kernel, self.scale = kernel, scale
        self.require(kernel=(kernel in KERNELS, " or ".join(map(repr, KERNELS))), scale=(scale > 0, "above 0"))

    def distance(self, z: Float[Tensor, "K B Z"], prior: Float[Tensor, "K B Z"], noise: Noise) -> Float[Tensor, " B"]:
        """Return the part of each row in MMD², averaged over draws."""
        return mmd(z, prior, self.kernel, self.scale).mean(0)


class SlicedWasserstein(_Discrepancy):
    """log p(x | z) - beta KL(q(z | x) || p(z)) - weight SW²(q(z), p(z)) (Kolouri et al. 2019, eq. 11).

    The distance is averaged over `projections` random directions; it couples rows.

    >>> model, objective = recipes.wae_mmd((5,), 2, objective="sliced-wasserstein:projections=20")
    >>> objective.projections
    20
    """

    def __init__(self, weight: float = 100.0, beta: float = 0.0, projections: int = 50, samples: int = 1) -> None:
        super().__init__(weight, beta, samples)
        self.projections = projections
        self.require(projections=(projections >= 1, "at least 1"))

    def distance(self, z: Float[Tensor, "K B Z"], prior: Float[Tensor, "K B Z"], noise: Noise) -> Float[Tensor, " B"]:
        """Return the distance, the same for each row."""
        directions = torch.nn.functional.normalize(noise.normal((1, self.projections, z.shape[-1]), z)[0], dim=-1)
        return sliced_wasserstein(z, prior, directions).mean().expand(z.shape[1])
