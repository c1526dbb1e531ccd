"""Score-function gradients against enumeration: latents that are coins, every outcome with its probability."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from discrete import coins, enumerated, gradient, outcomes
from oracles import F64, LinearGaussian, close, given, noise, tensor, within
from vaelab.errors import UsageError
from vaelab.models import VAE
from vaelab.noise import Noise
from vaelab.objectives import ELBO, VIMCO, BoundObjective, Score, elbo, iwae

x = torch.tensor([1.0, 0.0, 1.0], dtype=F64)


def probability(model: VAE, z: Tensor) -> Tensor:
    """The probability of each outcome of the draws (K, N, Z), (N,)."""
    return model.posterior(x.expand(z.shape[1], -1)).log_prob(z).sum(0).exp()


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("goal", ["elbo", "beta", "iwae"])
def test_unbiased(goal: str, k: int) -> None:
    """Sum of probability times gradient = gradient of the sum of probability times value, every parameter."""
    model = coins()
    parameters = list(model.parameters())
    objective = {"elbo": Score(k), "beta": Score(k, beta=2.5), "iwae": VIMCO(k)}[goal]
    rows, z, fixed = enumerated(x, k)
    losses, terms = objective(model, rows, noise=fixed, step=0)
    assert torch.equal(terms.z, z)
    p = probability(model, z)
    close(p.sum(), 1.0)
    found = gradient(-(p.detach() * losses["model"]).sum(), parameters)
    t = model.terms(rows, samples=k, noise=enumerated(x, k)[2])
    value = iwae(t) if goal == "iwae" else elbo(t, objective.beta)
    close(-losses["model"], value)
    exact = gradient((p * value).sum(), parameters)
    assert (exact.abs() > 1e-6).double().mean() > 0.8  # an x of 0 leaves some weights unused
    close(found, exact)
    reparameterised = gradient((p.detach() * value).sum(), list(model.posterior.parameters()))
    assert (reparameterised - gradient((p * value).sum(), list(model.posterior.parameters()))).abs().max() > 1e-3


def test_the_sum_over_outcomes_is_the_elbo() -> None:
    model = coins()
    rows, z, fixed = enumerated(x, 2)
    losses, _ = Score(2)(model, rows, noise=fixed, step=0)
    z1 = outcomes(2)
    q = model.posterior(x.expand(4, -1)).log_prob(z1)
    log_joint = model.prior().log_prob(z1) + model.decode(z1).log_prob(x)
    exact = (q.exp() * (log_joint - q)).sum()
    close(-(probability(model, z) * losses["model"]).sum(), exact)


@pytest.mark.parametrize("kind", [Score, VIMCO])
def test_the_baseline_lowers_the_variance(kind: type[BoundObjective]) -> None:
    """Exact second moments of the encoder's gradient over all outcomes, with and without the baseline."""
    model, k = coins(), 3
    parameters = list(model.posterior.parameters())
    rows, z, fixed = enumerated(x, k)
    losses, t = kind(k)(model, rows, noise=fixed, step=0)
    plain = -((iwae(t) if kind is VIMCO else elbo(t)).detach() * t.log_qz.sum(0))
    p = probability(model, z).detach()

    def second_moment(loss: Tensor) -> Tensor:
        return sum(w * gradient(v, parameters).square().sum() for w, v in zip(p, loss))

    assert second_moment(losses["model"]) < 0.5 * second_moment(plain)


def test_unbiased_on_continuous_latents_too() -> None:
    """200 estimates, each of 40 draws, at five standard errors; noise that integrates quadratics gives the truth."""
    truth = LinearGaussian.random(5, 2, seed=4)
    V, c, S = truth.encoder()
    model, rows = truth.vae(encoder=(0.7 * V, c + 0.3, 1.4 * S)), tensor(truth.sample(3, seed=1))
    parameters, source = list(model.parameters()), noise(2)

    def one(objective: BoundObjective, source: Noise) -> Tensor:
        return gradient(objective(model, rows, noise=source, step=0)[0]["model"].mean(), parameters)

    points = math.sqrt(2) * np.concatenate([np.eye(2), -np.eye(2)])
    exact = one(ELBO(samples=4), given(np.repeat(points[:, None], 3, 1)))
    within(torch.stack([one(Score(40), source) for _ in range(200)]), exact)


def test_impossible_arguments_are_refused() -> None:
    for make in (lambda: Score(1), lambda: VIMCO(1), lambda: Score(beta=-1.0)):
        with pytest.raises(UsageError, match="expected at least"):
            make()
