"""The objective of VQ-VAE."""

from __future__ import annotations

from torch import Tensor

from ..distributions import NearestCode
from ..errors import UsageError
from ..models import Terms
from ..models.terms import layers
from ..shapes import Float
from .base import BoundObjective
from .bounds import elbo


class Quantised(BoundObjective):
    """log p(x | e_k) + log p(k) - |sg[z_e] - e_k|² - commitment |z_e - sg[e_k]|² (van den Oord et al. 2017, eq. 3).

    z_e is what the encoder gave, e_k the nearest code, sg stops gradients; squares are summed over latent dimensions.
    The first two terms are the bound (the first alone where the prior is not over codes); the squares are a surrogate
    for its gradient, which does not reach encoder and codes otherwise. The codebook term is left out where codes are
    running means. With `residual-nearest` z_e and e_k are the residual before each level and its code, and the squares
    are summed over levels. Raises UsageError for another posterior.

    >>> model, objective = recipes.vq_vae((5,), 4)
    >>> losses, terms = objective(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> bool((losses["model"] >= -objectives.elbo(terms)).all())
    True
    """

    def __init__(self, commitment: float = 0.25) -> None:
        super().__init__()
        if not commitment >= 0:
            raise UsageError(f"Quantised: commitment must not be negative, got {commitment}.")
        self.commitment = commitment

    def bound(self, terms: Terms, step: int) -> Float[Tensor, " B"]:
        """Return the bound less the squares, (B,)."""
        value = elbo(terms) if terms.kl else terms.mean(terms.log_px)
        for q in layers(terms.q).values():
            if not isinstance(q, NearestCode):
                needs = "the objective quantised needs the posterior nearest or residual-nearest"
                raise UsageError(f"{needs}, got a {type(q).__name__}.")
            value = value - self.commitment * (q.encoded - q.value.detach()).square().sum(-1)
            if q.codebook.requires_grad:
                value = value - (q.encoded.detach() - q.value).square().sum(-1)
        return value
