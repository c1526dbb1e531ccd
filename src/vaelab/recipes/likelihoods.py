"""Recipes whose likelihood is their own."""

from __future__ import annotations

from typing import Any

from ..models import VAE
from ..objectives import Objective
from .base import Shape, assemble, recipe


@recipe(
    "Gulrajani et al. 2017, PixelVAE: A Latent Variable Model for Natural Images (ICLR)",
    likelihood="autoregressive-bernoulli",
)
def pixel_vae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E_q[sum_i log p(x_i | x_<i, z)] - KL(q(z | x) || p(z)), x_<i the pixels before i (eq. 1 and 2).

    p(x_i | x_<i, z) -> likelihoods.AutoregressiveBernoulli, for binary images: one layer, a window of `radius`.

    >>> model, _ = recipes.pixel_vae((28, 28), 20, likelihood="autoregressive-bernoulli:radius=2")
    >>> model.likelihood.kernel.shape
    torch.Size([8, 12])
    """
    return assemble(shape, latent_dim, **parts)
