"""Learning p awake and q asleep: no gradient passes through a draw, so z may be of any kind."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..distributions import draw, draw_below
from ..errors import UsageError
from ..models import VAE, Model, Terms
from ..noise import Noise
from ..shapes import Float
from .base import Objective, equal_weights, two_sides
from .bounds import iwae


def dreamt(
    model: VAE, rows: int, noise: Noise, observed: Tensor | None, condition: Tensor | None
) -> Float[Tensor, " B"]:
    """Return -log q(z | x), (B,), at dreams z ~ p(z), x ~ p(x | z), one for each row.

    A dream has its row's condition, and is masked as its row is: q then meets what it meets awake.
    """
    with torch.no_grad():
        p = model.prior_at(condition)
        z = draw(p if p.batch_shape else p.expand(torch.Size([rows])), 1, noise)
        x = draw_below(model.decode(z, condition), 1, noise)[0]
        if observed is not None:
            x = torch.where(observed, x, 0)
    return -model.posterior_at(x, observed, condition).log_prob(z[0])


class TwoPhases(Objective):
    """What trains p(x, z), "generative", and q(z | x), "recognition", by losses of their own."""

    gradient = "score"

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples
        self.require(samples=(samples >= 1, "at least 1"))

    def owners(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of p and of q."""
        return two_sides(model, self)

    def model(self, model: Model) -> VAE:
        """Return the model as one that can dream, or refuse it by name."""
        if not isinstance(model, VAE):
            raise UsageError(f"{type(self).__name__} needs a VAE, whose p and q are apart; got {type(model).__name__}.")
        return model


class WakeSleep(TwoPhases):
    """Awake, p maximises E_q[log p(x, z)]; asleep, q maximises E_p[log q(z | x)] (Hinton et al. 1995).

    The generative loss is minus the sampled ELBO, whose gradient in p it has; what q follows is KL(p(z | x) || q) at
    dreams, so together they descend no common function.

    >>> model, objective = recipes.wake_sleep((5,), 2)
    >>> losses, terms = objective(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> sorted(losses), torch.equal(losses["generative"], -terms.log_w[0])
    (['generative', 'recognition'], True)
    """

    def __init__(self, samples: int = 1) -> None:
        super().__init__(samples)

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
        """Return the losses of p, awake, and of q, asleep, (B,) each, and the terms."""
        vae = self.model(model)
        terms = vae.terms(
            x, samples=self.samples, observed=observed, condition=condition, noise=noise, gradient=self.gradient
        )
        awake = -terms.mean(terms.log_w)
        return {"generative": awake, "recognition": dreamt(vae, len(x), noise, observed, condition)}, terms


class ReweightedWakeSleep(TwoPhases):
    """p maximises log (1/K) sum_k w_k; q sum_k w~_k log q(z_k | x), or at dreams (Bornschein & Bengio 2015).

    `recognition`: "wake" (their eq. 11), "sleep" (eq. 12), or "both", the mean of the two.

    >>> model, objective = recipes.reweighted_wake_sleep((5,), 2)
    >>> losses, terms = objective(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> sorted(losses), torch.equal(losses["generative"], -objectives.iwae(terms))
    (['generative', 'recognition'], True)
    """

    def __init__(self, samples: int = 5, recognition: str = "both") -> None:
        super().__init__(samples)
        self.recognition = recognition
        self.require(recognition=(recognition in ("wake", "sleep", "both"), "'wake', 'sleep' or 'both'"))

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
        """Return the losses of p and of q, (B,) each, and the terms."""
        vae = self.model(model)
        terms = vae.terms(
            x, samples=self.samples, observed=observed, condition=condition, noise=noise, gradient=self.gradient
        )
        equal_weights(terms, self)
        losses = {"generative": -iwae(terms)}
        phases = []
        if self.recognition != "sleep":
            assert terms.log_qz is not None
            phases.append(-(terms.log_w.detach().softmax(0) * terms.log_qz).sum(0))
        if self.recognition != "wake":
            phases.append(dreamt(vae, len(x), noise, observed, condition))
        return {**losses, "recognition": torch.stack(phases).mean(0)}, terms
