"""Bounds made of importance weights: Rényi's, and those that spend their draws in groups."""

from __future__ import annotations

import math

from torch import Tensor, nn

from ..models import Model, Terms
from ..noise import Noise
from ..shapes import Float
from .base import BoundObjective, Objective, equal_weights, two_sides
from .bounds import elbo, iwae


def renyi(t: Terms, alpha: float) -> Float[Tensor, " B"]:
    """log ((1/K) sum_k w_k^(1 - alpha)) / (1 - alpha), (B,) (Li & Turner 2016, eq. 7).

    It falls with alpha: the largest log w at -inf, the IWAE bound at 0, the sampled ELBO at 1, the smallest log w at
    inf. It bounds log p(x) from below for alpha >= 0.

    >>> model, _ = recipes.vae((5,), 2)
    >>> terms = model.terms(torch.zeros(7, 5), samples=3)
    >>> torch.allclose(objectives.renyi(terms, 0.0), objectives.iwae(terms))
    True
    """
    if alpha == 1:
        return t.mean(t.log_w)
    if math.isinf(alpha):
        return t.log_w.amax(0) if alpha < 0 else t.log_w.amin(0)
    return ((1 - alpha) * t.log_w + t.log_weights).logsumexp(0) / (1 - alpha)


def multiply_iwae(t: Terms, groups: int) -> Float[Tensor, " B"]:
    """(1/M) sum_m log (1/K) sum_k w_mk, (B,): M = `groups` bounds of K draws each (Rainforth et al. 2018, eq. 10).

    >>> model, _ = recipes.vae((5,), 2)
    >>> terms = model.terms(torch.zeros(7, 5), samples=6)
    >>> torch.equal(objectives.multiply_iwae(terms, 1), objectives.iwae(terms))
    True
    """
    if groups == 1:
        return iwae(t)
    log_w = t.log_w.unflatten(0, (groups, -1))  # (M, K, B)
    return (log_w.logsumexp(1) - math.log(log_w.shape[1])).mean(0)


class Renyi(BoundObjective):
    """log ((1/K) sum_k w_k^(1 - alpha)) / (1 - alpha), the Rényi bound (Li & Turner 2016, eq. 7).

    alpha = 0 is the IWAE, 1 the ELBO, -inf the largest weight alone (VR-max). Below 0 it may exceed log p(x).

    >>> objectives.Renyi(alpha=0.5, samples=10).alpha
    0.5
    """

    weighs = True

    def __init__(self, alpha: float = 0.5, samples: int = 10) -> None:
        super().__init__()
        self.alpha, self.samples = alpha, samples
        self.require(alpha=(not math.isnan(alpha), "a number"), samples=(samples >= 1, "at least 1"))

    def bound(self, terms: Terms, step: int) -> Float[Tensor, " B"]:
        """Return the Rényi bound of each row, (B,)."""
        return renyi(terms, self.alpha)


class _Grouped(Objective):
    """What spends `samples` draws in `groups` of equal size."""

    weighs = True

    def __init__(self, samples: int, groups: int) -> None:
        super().__init__()
        self.samples, self.groups = samples, groups
        self.require(
            samples=(samples >= 1, "at least 1"),
            groups=(groups >= 1 and samples % groups == 0, f"a divisor of samples = {samples}"),
        )


class MultiplyIWAE(_Grouped, BoundObjective):
    """(1/M) sum_m log (1/K) sum_k w_mk with M = `groups` and M K = `samples` (MIWAE, Rainforth et al. 2018, eq. 10).

    groups = 1 is the IWAE, groups = samples the sampled ELBO. (The MIWAE of Mattei & Frellsen 2019, for missing data,
    is another: it is the objective iwae on rows with missing entries.)

    >>> objectives.MultiplyIWAE(samples=64, groups=8).samples  # M = 8 bounds of K = 8 draws
    64
    """

    def __init__(self, samples: int = 64, groups: int = 8) -> None:
        super().__init__(samples, groups)

    def bound(self, terms: Terms, step: int) -> Float[Tensor, " B"]:
        """Return the mean of the bounds of the groups, (B,)."""
        equal_weights(terms, self)
        return multiply_iwae(terms, self.groups)


class PartialIWAE(_Grouped):
    """IWAE of all `samples` draws for p, the mean of `groups` IWAEs for q (PIWAE, Rainforth et al. 2018, eq. 12).

    The encoder's signal does not drown as K grows, and the decoder keeps the tighter bound. Two owners: "generative"
    and "recognition".

    >>> model, objective = recipes.piwae((5,), 2)
    >>> losses, terms = objective(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> sorted(losses), torch.equal(losses["generative"], -objectives.iwae(terms))
    (['generative', 'recognition'], True)
    """

    def __init__(self, samples: int = 64, groups: int = 8) -> None:
        super().__init__(samples, groups)

    def owners(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of p and of q."""
        return two_sides(model, self)

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
        """Return minus the two bounds, (B,) each, and the terms."""
        terms = model.terms(x, samples=self.samples, observed=observed, condition=condition, noise=noise)
        equal_weights(terms, self)
        return {"generative": -iwae(terms), "recognition": -multiply_iwae(terms, self.groups)}, terms


class CombinedIWAE(BoundObjective):
    """weight ELBO + (1 - weight) IWAE, over the same K = `samples` draws (CIWAE, Rainforth et al. 2018, eq. 11).

    >>> objectives.CombinedIWAE(samples=64, weight=0.05).weight
    0.05
    """

    weighs = True

    def __init__(self, samples: int = 64, weight: float = 0.5) -> None:
        super().__init__()
        self.samples, self.weight = samples, weight
        self.require(samples=(samples >= 1, "at least 1"), weight=(0 <= weight <= 1, "from 0 to 1"))

    def bound(self, terms: Terms, step: int) -> Float[Tensor, " B"]:
        """Return the mixture of the two bounds, (B,)."""
        return self.weight * elbo(terms) + (1 - self.weight) * iwae(terms)
