"""How far made rows reach into real ones, by nearest neighbours (Naeem et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..evaluation import Estimate
from ..evaluation.samples import distances as pairwise_distances
from ..evaluation.samples import neighbourhoods
from ..models import VAE
from . import lab
from .base import Trial


def coverage(real: Tensor, made: Tensor) -> float:
    """Return the share of real rows that have a made row within their fifth neighbour's distance."""
    return neighbourhoods(real, made)[3].value


def density(real: Tensor, made: Tensor) -> float:
    """Return how many real neighbourhoods a made row lies in, over 5: about 1 where both have one distribution."""
    return neighbourhoods(real, made)[2].value


def drawn(model: VAE, n: int, trial: Trial, name: str, *, means: bool = True) -> Tensor:
    """Return n rows from the model, (n, d): decoder means, or draws with the likelihood's noise."""
    with torch.no_grad():
        return model.generate(n, noise=trial.noise(name), means=means)


def reach(model: VAE, real: Tensor, trial: Trial, sets: int = 10) -> tuple[Estimate, Estimate]:
    """Return coverage and density of real rows by decoder means of as many prior draws, over independent sets."""
    made = drawn(model, sets * len(real), trial, "prior draws").chunk(sets)
    judged = [neighbourhoods(real, some) for some in made]
    found = torch.tensor([(covered.value, dense.value) for _, _, dense, covered in judged], dtype=lab.F64)
    return Estimate.of(found[:, 0]), Estimate.of(found[:, 1])


def distances(rows: Tensor, real: Tensor) -> Tensor:
    """Return the distance from each row to the nearest real row."""
    return pairwise_distances(rows, real).min(1).values
