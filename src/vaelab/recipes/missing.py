"""Published models for rows with missing entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..data import Dataset
from ..models import VAE
from ..objectives import Objective
from ..training import steps_per_epoch
from .base import Shape, assemble, recipe


def of_steps(steps: int) -> Callable[[Dataset], dict[str, Any]]:
    """Return the pace of about so many steps, whose rate ends at 0: nothing stops them early."""

    def pace(train: Dataset) -> dict[str, Any]:
        return {"epochs": min(3000, max(20, round(steps / steps_per_epoch(len(train), 100))))}

    return pace


@recipe(
    "Mattei & Frellsen 2019, MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets (ICML)",
    pace=of_steps(5000),
    gaps=True,
    hidden=(128,),
    objective="iwae:samples=20",
    masked=True,
)
def miwae_missing(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E[log (1/K) sum_k p(x_observed | z_k) p(z_k) / q(z_k | x_observed)], K = 20 (eq. 5).

    The encoder is told what was observed. K -> objectives.IWAE(samples=...); observed entries -> Terms.log_px; the mask
    beside x -> networks.Masked.

    >>> model, objective = recipes.miwae_missing((5,), 2)
    >>> type(model.posterior.network).__name__, objective.samples
    ('Masked', 20)
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Ipsen, Mattei & Frellsen 2021, not-MIWAE: Deep Generative Modelling with Missing not at Random Data (ICLR)",
    pace=of_steps(30_000),
    gaps=True,
    hidden=(),
    objective="iwae:samples=20",
    masked=True,
    missingness="self-masking",
)
def not_miwae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E[log (1/K) sum_k p(s | x_observed, x_k) p(x_observed | z_k) p(z_k) / q(z_k | x_observed)] (eq. 8).

    For entries that hide themselves: x_k ~ p(x_missing | z_k), K = 20. p(s | x) -> missingness.SelfMasking; x_k ->
    Terms.filled. Both networks are affine unless `hidden` says otherwise: a gap may hold anything far enough beyond the
    values that are seen, and nothing but an affine decoder keeps it from running away. In a mixed table the columns of
    real numbers may hide themselves, others go missing by chance.

    >>> type(recipes.not_miwae((5,), 2, likelihood="gaussian")[0].missingness).__name__
    'SelfMasking'
    """
    return assemble(shape, latent_dim, **parts)
