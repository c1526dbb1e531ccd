"""Gradients by the score of q, for latents that no noise can be differentiated through."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..models import Terms
from ..shapes import Float
from .base import BoundObjective, equal_weights
from .bounds import iwae


def surrogate(terms: Terms, signal: Float[Tensor, "K B"]) -> Float[Tensor, " B"]:
    """sum_k signal_k log q(z_k | x) less its own value: zero, with the gradient sum_k signal_k d log q(z_k | x)."""
    assert terms.log_qz is not None
    score = (signal.detach() * terms.log_qz).sum(0)
    return score - score.detach()


class Score(BoundObjective):
    """E_q[log p(x | z)] - beta KL(q || p), its gradient by the score of q with a leave-one-out baseline.

    For draw k the signal is f_k less the mean of the other draws' f, so nothing needs to be learnt or tuned and the
    gradient stays unbiased (Salimans & Knowles 2014; Kool et al. 2019). z may be discrete; needs `samples` >= 2.

    >>> model, _ = recipes.vae((5,), 2)
    >>> losses, terms = objectives.Score(samples=3)(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> torch.equal(losses["model"], -objectives.elbo(terms))
    True
    """

    gradient = "score"

    def __init__(self, samples: int = 8, beta: float = 1.0) -> None:
        super().__init__()
        self.samples, self.beta = samples, beta
        self.require(samples=(samples >= 2, "at least 2"), beta=(beta >= 0, "at least 0"))

    def bound(self, terms: Terms, step: int) -> Float[Tensor, " B"]:
        """Return the bound of each row, (B,), its gradient that of the estimator."""
        equal_weights(terms, self)
        value = terms.log_px - self.beta * terms.kl_total
        others = (value.sum(0) - value) / (self.samples - 1)
        return value.mean(0) + surrogate(terms, (value - others) / self.samples)


class VIMCO(BoundObjective):
    """log (1/K) sum_k w_k, its gradient by the score of q with a baseline for each draw (Mnih & Rezende 2016, eq. 10).

    The signal of draw k is the bound less what it would be, had w_k been the geometric mean of the other weights.

    >>> model, _ = recipes.vae((5,), 2)
    >>> losses, terms = objectives.VIMCO(samples=3)(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> torch.equal(losses["model"], -objectives.iwae(terms))
    True
    """

    gradient = "score"
    weighs = True

    def __init__(self, samples: int = 8) -> None:
        super().__init__()
        self.samples = samples
        self.require(samples=(samples >= 2, "at least 2"))

    def bound(self, terms: Terms, step: int) -> Float[Tensor, " B"]:
        """Return the importance-weighted bound of each row, (B,), its gradient that of the estimator."""
        equal_weights(terms, self)
        k, bound, log_w = self.samples, iwae(terms), terms.log_w.detach()
        others = (log_w.sum(0) - log_w) / (k - 1)
        own = torch.eye(k, dtype=torch.bool, device=log_w.device).unsqueeze(-1)  # (K, K, 1)
        without = torch.where(own, others, log_w).logsumexp(1) - math.log(k)
        return bound + surrogate(terms, bound - without)
