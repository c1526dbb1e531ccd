"""A linear-Gaussian model whose exact posterior is correlated, under any posterior: what all of them are held to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from oracles import F64, Array, LinearGaussian, assign, noise, tensor, unbounded
from vaelab import likelihoods, posteriors, priors
from vaelab.models import VAE
from vaelab.networks import Linear

D, Q = 5, 2
TRUTH = LinearGaussian.random(D, Q, seed=3, s2=0.5, orthogonal=False)


def linear_model(family: type[posteriors.Amortized], wide: float = 1.3, small: float = 0.1, **arguments: Any) -> VAE:
    """The model with the decoder of TRUTH; q's first 2 Q numbers are the exact mean and `wide` times the deviations.

    What else the network gives has weights of about `small`.
    """
    V, c, S = TRUTH.encoder()
    outputs = family.outputs(Q, **arguments)
    encode, decode = Linear(D, outputs), Linear(Q, D)
    model = VAE(
        prior=priors.Gaussian(Q),
        posterior=family(encode, Q, **arguments),
        likelihood=likelihoods.Gaussian(decode, (D,), scale=math.sqrt(TRUTH.s2)),
    ).double()
    rng = np.random.default_rng(8)
    rest = outputs - 2 * Q
    assign(encode.map.weight, np.concatenate([V, np.zeros((Q, D)), small * rng.normal(size=(rest, D))]))
    raw = unbounded(np.log(wide * np.sqrt(np.diag(S))))
    assign(encode.map.bias, np.concatenate([c, raw, small * rng.normal(size=rest)]))
    assign(decode.map.weight, TRUTH.W)
    assign(decode.map.bias, TRUTH.m)
    return model


def relative_weights(model: VAE, x: Array, samples: int = 20_011, seed: int = 5) -> torch.Tensor:
    """w / p(x), (K, B): its mean is 1 under every posterior that reaches all z."""
    with torch.no_grad():
        log_w = model.terms(tensor(x), samples=samples, noise=noise(seed)).log_w
    return (log_w - tensor(TRUTH.log_px(x))).exp()


def train_posterior(model: VAE, steps: int, lr: float = 0.02, rows: int = 100, samples: int = 4) -> None:
    """Maximise the bound in the posterior alone, on fresh rows of the truth, the rate falling to zero."""
    optimiser = torch.optim.Adam(model.posterior.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        terms = model.terms(tensor(TRUTH.sample(rows, seed=step)), samples=samples, noise=noise(step))
        optimiser.zero_grad()
        (-terms.log_w.mean()).backward()
        optimiser.step()
        schedule.step()


def gap(model: VAE, rows: int = 200, samples: int = 500) -> tuple[float, float]:
    """Mean of log p(x) - ELBO over rows, and its standard error over draws."""
    x = TRUTH.sample(rows, seed=10_001)
    with torch.no_grad():
        log_w = model.terms(tensor(x), samples=samples, noise=noise(3)).log_w
    each = (tensor(TRUTH.log_px(x)) - log_w).mean(1)  # of each set of draws
    return each.mean().item(), each.std().item() / math.sqrt(samples)


def diagonal_gap() -> float:
    """KL of the best diagonal Gaussian to the exact posterior: what the default posterior leaves."""
    P = np.linalg.inv(TRUTH.encoder()[2])
    return 0.5 * float(np.log(np.diag(P)).sum() - np.linalg.slogdet(P)[1])


__all__ = ["F64", "TRUTH", "D", "Q", "diagonal_gap", "gap", "linear_model", "relative_weights", "train_posterior"]
