"""Published models that are given something beside x."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError
from ..models import VAE
from ..objectives import Objective
from .base import Shape, assemble, recipe


@recipe(
    "Sohn, Lee & Yan 2015, Learning Structured Output Representation by Deep Conditional Generative Models (NeurIPS)",
    prior="conditioned",
)
def cvae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E_q[log p(x | z, c)] - KL(q(z | x, c) || p(z | c)) for a condition c (eq. 4).

    c -> Dataset.condition, from --condition: unit vectors for classes, standardised numbers; p(z | c) ->
    priors.Conditioned (--prior gaussian: z is then independent of c); q and p(x | z, c) -> networks that read c too.

    >>> recipes.cvae((5,), 2, condition=3)[0].likelihood.network.condition
    3
    """
    if not parts["condition"]:
        raise UsageError("recipe cvae needs a condition: --condition label, or columns of a table.")
    return assemble(shape, latent_dim, **parts)
