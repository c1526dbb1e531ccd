"""Objectives with a critic: a network that learns a log density ratio on z, with an optimiser of its own."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..distributions import draw
from ..models import Model, Terms
from ..networks import MLP
from ..noise import Noise
from ..shapes import Float
from .base import Objective, codes
from .bounds import elbo


def permuted(z: Float[Tensor, "K B Z"], noise: Noise) -> Float[Tensor, "K B Z"]:
    """Return z with each dimension permuted over the rows: draws of prod_d q(z_d) (Kim & Mnih 2018, Alg. 1)."""
    return z.gather(1, noise.uniform(z.shape, z).argsort(1))


def prior_draws(terms: Terms, noise: Noise) -> Float[Tensor, "K B Z"]:
    """Return as many draws of p(z) as there are of q(z | x)."""
    assert not isinstance(terms.p, dict)
    p = terms.p if terms.p.batch_shape else terms.p.expand(terms.x.shape[:1])
    return draw(p, terms.samples, noise).reshape(terms.samples, terms.x.shape[0], -1)


class _WithCritic(Objective):
    """What owns a critic: a log density ratio on z, an MLP of `layers` hidden layers of `width` units."""

    def __init__(self, latent_dim: int, width: int, layers: int, samples: int) -> None:
        super().__init__()
        self.latent_dim, self.width, self.layers, self.samples = latent_dim, width, layers, samples
        self.require(
            latent_dim=(latent_dim >= 1, "at least 1"),
            width=(width >= 1, "at least 1"),
            layers=(layers >= 0, "at least 0"),
            samples=(samples >= 1, "at least 1"),
        )
        self.critic = MLP(latent_dim, 1, (width,) * layers, "silu")

    def owners(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """Return the model's parameters, and the critic's."""
        return {**super().owners(model), "critic": list(self.critic.parameters())}

    def ratio(self, z: Float[Tensor, "K B Z"]) -> Float[Tensor, "K B"]:
        """Return the critic's log density ratio at z."""
        return self.critic(z).squeeze(-1)

    def learn(self, above: Float[Tensor, "K B Z"], below: Float[Tensor, "K B Z"]) -> Float[Tensor, " B"]:
        """Logistic loss, (B,), least where the ratio is log (density of `above` / density of `below`)."""
        return (F.softplus(-self.ratio(above.detach())) + F.softplus(self.ratio(below.detach()))).mean(0)


class Factor(_WithCritic):
    """E_q[log p(x | z)] - KL(q || p) - gamma TC(z), TC = E_q[log q(z) / prod_d q(z_d)] by a critic (Kim & Mnih 2018).

    The critic tells z from z with each dimension permuted over the batch, so rows are coupled. Owners: "model",
    "critic".

    >>> model, objective = recipes.factor_vae((5,), 2)
    >>> losses, terms = objective(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> sorted(losses)
    ['critic', 'model']
    """

    couples_rows = True

    def __init__(
        self, latent_dim: int, gamma: float = 6.0, width: int = 256, layers: int = 3, samples: int = 1
    ) -> None:
        super().__init__(latent_dim, width, layers, samples)
        self.gamma = gamma
        self.require(gamma=(gamma >= 0, "at least 0"))

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
        """Return the losses of the model and of the critic, (B,) each, and the terms."""
        terms = model.terms(x, samples=self.samples, observed=observed, condition=condition, noise=noise)
        z = codes(terms, self)
        loss = self.gamma * terms.mean(self.ratio(z)) - elbo(terms)
        return {"model": loss, "critic": self.learn(z, permuted(z, noise))}, terms


class Adversarial(_WithCritic):
    """log p(x | z) + weight log D(z), where the critic D tells p(z) from q(z) (AAE, Makhzani et al. 2016).

    D = sigmoid(log p(z) / q(z)) is learnt; no density of q is needed, and there is no bound on log p(x) in it. A
    row's loss needs no other row, but the critic sees all. Owners: "model", "critic".

    >>> model, objective = recipes.aae((5,), 2)
    >>> losses, terms = objective(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> sorted(losses)
    ['critic', 'model']
    """

    def __init__(
        self, latent_dim: int, weight: float = 1.0, width: int = 256, layers: int = 3, samples: int = 1
    ) -> None:
        super().__init__(latent_dim, width, layers, samples)
        self.weight = weight
        self.require(weight=(weight >= 0, "at least 0"))

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
        """Return the losses of the model and of the critic, (B,) each, and the terms."""
        terms = model.terms(x, samples=self.samples, observed=observed, condition=condition, noise=noise)
        z = codes(terms, self)
        # minimising log(1 - D) has no gradient while the critic wins: maximise log D (Goodfellow et al. 2014)
        loss = terms.mean(self.weight * F.softplus(-self.ratio(z)) - terms.log_px)
        return {"model": loss, "critic": self.learn(prior_draws(terms, noise), z)}, terms
