"""The bounds on log p(x), and the objectives made of them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..models import Terms
from ..shapes import Float
from .base import BoundObjective, codes, equal_weights


def elbo(t: Terms, beta: float = 1.0) -> Float[Tensor, " B"]:
    """E_q[log p(x | z)] - beta KL(q || p), (B,) (Kingma & Welling 2013, eq. 3; beta: Higgins et al. 2017).

    >>> model, _ = recipes.vae((5,), 2)
    >>> terms = model.terms(torch.zeros(7, 5), samples=3)
    >>> torch.equal(objectives.elbo(terms), (terms.log_px - terms.kl_total).mean(0))
    True
    """
    return t.mean(t.log_px - beta * t.kl_total)


def iwae(t: Terms, beta: float = 1.0) -> Float[Tensor, " B"]:
    """log (1/K) sum_k w_k, (B,): K = 1 is the ELBO, K to infinity is log p(x) (Burda et al. 2016, eq. 8).

    With beta, log w_k = log p(x | z_k) + beta (log p(z_k) - log q(z_k | x)).

    >>> model, _ = recipes.vae((5,), 2)
    >>> terms = model.terms(torch.zeros(7, 5), samples=3)
    >>> torch.allclose(objectives.iwae(terms), terms.log_w.exp().mean(0).log())
    True
    """
    log_w = t.log_w
    if isinstance(beta, Tensor) or beta != 1:  # in a compiled step a tensor
        assert t.log_qz is not None  # else there were no log_w
        log_w = log_w - (1 - beta) * (t.log_pz - t.log_qz)
    return (log_w + t.log_weights).logsumexp(0)


def ramp(step: int, warmup: int) -> float:
    """Return step / warmup up to 1: the KL weight of warm-up (Bowman et al. 2016; Sonderby et al. 2016)."""
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


class ELBO(BoundObjective):
    """E_q[log p(x | z)] - beta(step) KL(q || p), averaged over `samples` draws.

    beta rises linearly and is whole from step `warmup` on. `free_bits` (nats) replaces each dimension's KL, averaged
    over the batch, by max(free_bits, KL): below it there is nothing to gain by collapsing (Kingma et al. 2016, eq. 15);
    it couples the rows of a batch. `free_per` "layer" does so with the KL of each stochastic layer. `gradient`:
    "pathwise", or "stopped" (sticking the landing, Roeder et al. 2017).

    >>> ELBO(beta=4, warmup=1000).beta
    4
    """

    def __init__(
        self,
        beta: float = 1.0,
        warmup: int = 0,
        free_bits: float = 0.0,
        samples: int = 1,
        gradient: str = "pathwise",
        free_per: str = "dimension",
    ) -> None:
        super().__init__()
        self.beta, self.warmup, self.free_bits, self.free_per = beta, warmup, free_bits, free_per
        self.samples, self.gradient = samples, gradient
        self.require(
            beta=(beta >= 0, "at least 0"),
            warmup=(warmup >= 0, "at least 0"),
            free_bits=(free_bits >= 0, "at least 0"),
            samples=(samples >= 1, "at least 1"),
            gradient=(gradient in ("pathwise", "stopped"), "'pathwise' or 'stopped'"),
            free_per=(free_per in ("dimension", "layer"), "'dimension' or 'layer'"),
        )
        self.couples_rows = free_bits > 0

    def bound(self, terms: Terms, step: int) -> Float[Tensor, " B"]:
        """Return the weighted bound of each row, (B,)."""
        beta = self.beta * ramp(step, self.warmup)
        if self.free_bits == 0:
            return elbo(terms, beta)
        _ = terms.kl_total  # refuses by name a posterior without a density
        by_layer = [terms.mean(v) for v in terms.kl.values()]
        if self.free_per == "layer":
            by_layer = [v.sum(-1, keepdim=True) for v in by_layer]
        kl = torch.cat(by_layer, -1)  # (B, dimensions or layers)
        spent = kl.mean(0) > self.free_bits
        return terms.mean(terms.log_px) - beta * torch.where(spent, kl, self.free_bits).sum(-1)


class IWAE(BoundObjective):
    """log (1/K) sum_k w_k with K = `samples` (Burda, Grosse & Salakhutdinov 2016).

    `gradient`: "pathwise"; "stopped", without the score of q (sticking the landing, Roeder et al. 2017: biased for
    K > 1); "dreg", doubly reparameterised (Tucker et al. 2019, eq. 8): unbiased, and without noise where q is exact.
    The weight of log p(z) - log q(z | x) rises linearly and is whole from step `warmup` on (Sonderby et al. 2016).

    >>> IWAE(samples=50, gradient="dreg").samples
    50
    """

    weighs = True

    def __init__(self, samples: int = 50, gradient: str = "pathwise", warmup: int = 0) -> None:
        super().__init__()
        self.samples, self.gradient, self.warmup = samples, gradient, warmup
        self.require(
            samples=(samples >= 1, "at least 1"),
            gradient=(gradient in ("pathwise", "stopped", "dreg"), "'pathwise', 'stopped' or 'dreg'"),
            warmup=(warmup >= 0, "at least 0"),
        )
        # its weights are those of the whole bound
        self.require(warmup=(warmup == 0 or gradient == "pathwise", "0 with a gradient that is not 'pathwise'"))

    def bound(self, terms: Terms, step: int) -> Float[Tensor, " B"]:
        """Return the importance-weighted bound of each row, (B,)."""
        if self.gradient == "dreg":
            equal_weights(terms, self)
            weigh_again(terms, codes(terms, self))
        return iwae(terms, ramp(step, self.warmup))


def weigh_again(terms: Terms, z: Float[Tensor, "K B Z"]) -> None:
    """Multiply what flows back through z by the normalised weight of its draw.

    With log q held, the gradient of the bound is sum_k w~_k d log w_k; this makes that of the encoder, which only comes
    through z, sum_k w~_k² dlog w_k/dz dz (Tucker et al. 2019, eq. 8), and leaves that of the decoder as it is.
    """
    if isinstance(terms.z, Tensor) and terms.z.requires_grad:
        weight = terms.log_w.detach().softmax(0).reshape(*z.shape[:2], *[1] * (terms.z.ndim - 2))
        terms.z.register_hook(lambda gradient: weight * gradient)


class Reconstruction(BoundObjective):
    """log p(x | z) alone: the plain autoencoder. Not a bound on log p(x).

    >>> model, objective = recipes.autoencoder((5,), 2)
    >>> losses, terms = objective(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> torch.equal(losses["model"], -terms.log_px[0])
    True
    """

    def __init__(self, samples: int = 1) -> None:
        super().__init__()
        self.samples = samples
        self.require(samples=(samples >= 1, "at least 1"))

    def bound(self, terms: Terms, step: int) -> Float[Tensor, " B"]:
        """Return log p(x | z) averaged over draws, (B,)."""
        return terms.mean(terms.log_px)
