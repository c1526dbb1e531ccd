"""Recipes whose prior is their own."""

from __future__ import annotations

from typing import Any

from ..models import VAE
from ..objectives import Objective
from .base import Shape, assemble, recipe


@recipe("Tomczak & Welling 2018, VAE with a VampPrior (AISTATS, arXiv 1705.07120)", prior="vamp:components=500")
def vamp(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E_q[log p(x | z) + log 1/K sum_k q(z | u_k) - log q(z | x)] over the pseudo-inputs u as well (eq. 9).

    K, u -> priors.Vamp(components=...), .inputs; q(z | u_k) -> the posterior, one for rows and pseudo-inputs. The
    paper's warm-up -> --warmup; with convolutions it is needed (5 on MNIST), else q stays at the prior.

    >>> model, _ = recipes.vamp((5,), 2, prior="vamp:components=20")
    >>> model.prior.posterior is model.posterior, model.prior.inputs.shape
    (True, torch.Size([20, 5]))
    """
    return assemble(shape, latent_dim, **parts)
