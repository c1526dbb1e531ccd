"""The digits as the cards on generation take them: rows to learn from, rows to be judged by, and models of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import recipes
from ..data import Dataset
from ..models import VAE
from ..objectives import ELBO, Objective
from ..part import inference
from ..training import Rows
from . import lab
from .base import Trial

LONG = 1500  # steps, where a model is judged by what it generates: after 500 its codes do not fill the prior yet
LATENTS, SCALE = 10, 0.15  # sigma of p(x | z), fixed: pixels lie in [0, 1]


@dataclass(frozen=True)
class Digits:
    """1,197 rows to learn from, and twice 300: one half to be reached, the other to show what data reach."""

    train: Dataset
    rows: Tensor
    reference: Tensor
    others: Tensor
    labels: np.ndarray[Any, Any]  # of the training rows

    @classmethod
    def split(cls, trial: Trial, rows: int | None = None) -> Digits:
        """Split the digits by the seed; with `rows`, only so many to learn from."""
        train, held_out = lab.digits(trial.seed, held_out=600)
        train = train if rows is None else train.take(range(rows))
        x = Rows(held_out).data
        assert train.labels is not None
        return cls(train, Rows(train).data, x[:300], x[300:], train.labels)

    @property
    def held_out(self) -> Tensor:
        """All 600 rows that were not trained on."""
        return torch.cat([self.reference, self.others])


def model_of(digits: Digits, trial: Trial, *, beta: float = 1.0, autoencoder: bool = False, steps: int = 500) -> VAE:
    """Return a trained VAE with this weight on its KL, or a plain autoencoder; weights start alike for a seed."""
    recipe = recipes.autoencoder if autoencoder else recipes.vae
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        model, objective = recipe((64,), LATENTS, hidden=(128,), likelihood=f"gaussian:scale={SCALE}")
    return learn(model, digits, trial, objective if autoencoder else ELBO(beta=beta), steps)


def learn(model: VAE, digits: Digits, trial: Trial, objective: Objective | None = None, steps: int = 500) -> VAE:
    """Train a model on the digits."""
    steps = 4000 if trial.full else steps
    trained: VAE = lab.train(model, digits.train, steps=steps, objective=objective, seed=trial.seed)
    return trained


def squared_error(log_px: Tensor) -> Tensor:
    """Return E|x - E[x | z]|² from E[log p(x | z)], (N,), for the fixed sigma."""
    return -2 * SCALE**2 * (log_px + 64 * (math.log(SCALE) + 0.5 * math.log(2 * math.pi)))


def codes(model: VAE, x: Tensor) -> Tensor:
    """Return E[z] under q(z | x)."""
    with inference(model):
        return model.posterior(x).mean.clone()


def decodes(model: VAE, z: Tensor) -> Tensor:
    """Return E[x | z]."""
    with inference(model):
        return model.decode(z).mean.clone()


def pairs(labels: np.ndarray[Any, Any], n: int, generator: torch.Generator) -> Tensor:
    """Return n pairs of rows of different classes, (n, 2)."""
    pick = torch.randint(len(labels), (4 * n, 2), generator=generator)
    classes = torch.from_numpy(labels.astype(np.int64))[pick]
    return pick[classes[:, 0] != classes[:, 1]][:n]


def show(axis: Any, images: Tensor, columns: int, names: Sequence[str]) -> None:
    """Draw rows of 64 pixels as digits, so many in a line, with a name for each line."""
    padded = torch.nn.functional.pad(images.reshape(-1, 8, 8), (1, 1, 1, 1))
    lines = padded.reshape(-1, columns, 10, 10).permute(0, 2, 1, 3).reshape(-1, 10 * columns)
    axis.imshow(lines.numpy(), cmap="gray_r", vmin=0, vmax=1)
    axis.set_yticks([10 * line + 4.5 for line in range(len(names))], list(names))
    axis.set_xticks([])
    axis.tick_params(length=0)
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)


def sharpness(images: Tensor) -> Tensor:
    """Return the energy of differences between neighbouring pixels, (N,): low for blurred digits."""
    square = images.unflatten(1, (8, 8))
    return square.diff(dim=1).square().sum((1, 2)) + square.diff(dim=2).square().sum((1, 2))
