"""Bounds of importance weights, and the gradients of the IWAE, without Monte-Carlo error: the noise is integrated."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch import Tensor, nn

from oracles import LinearGaussian, close, given, hermite, noise, tensor
from vaelab.errors import UsageError
from vaelab.models import VAE, Terms
from vaelab.objectives import (
    ELBO,
    IWAE,
    CombinedIWAE,
    MultiplyIWAE,
    Objective,
    PartialIWAE,
    Renyi,
    elbo,
    iwae,
    multiply_iwae,
    renyi,
)

K, B, D, Q = 6, 7, 5, 3


def problem(q: int = Q, exact: bool = False, posterior: str = "diagonal") -> tuple[LinearGaussian, VAE, np.ndarray]:
    truth = LinearGaussian.random(D, q, seed=2)
    V, c, S = truth.encoder()
    encoder = (V, c, S) if exact else (0.8 * V, c + 0.1, S * 1.3)
    return truth, truth.vae(posterior, encoder=encoder), truth.sample(B, seed=5)


def terms_of(model: VAE, x: np.ndarray, samples: int = K) -> Terms:
    return model.terms(tensor(x), samples=samples, noise=noise(3))


def expected(objective: Objective, model: VAE, x: np.ndarray, owner: str = "model", nodes: int = 40) -> Tensor:
    """E[loss] of one row (1, D) over all noise of a model with one latent: Gauss-Hermite in K dimensions."""
    eps, log_weight = hermite(nodes, objective.samples)  # (N, K)
    rows = tensor(np.repeat(x, len(eps), 0))
    losses, _ = objective(model, rows, noise=given(eps.T[..., None]), step=0)
    return (tensor(np.exp(log_weight)) * losses[owner]).sum()


def gradient(value: Tensor, module: nn.Module) -> np.ndarray:
    parts = torch.autograd.grad(value, list(module.parameters()), allow_unused=True, retain_graph=True)
    return np.concatenate(
        [np.zeros(p.numel()) if g is None else g.flatten() for p, g in zip(module.parameters(), parts)]
    )


# ---- gradients of the IWAE


@pytest.mark.parametrize("k", [1, 2, 3])
def test_dreg_has_the_gradient_of_the_bound_in_expectation(k: int) -> None:
    _, model, x = problem(q=1)
    plain = gradient(expected(IWAE(k), model, x[:1]), model)
    dreg = gradient(expected(IWAE(k, gradient="dreg"), model, x[:1]), model)
    assert np.abs(plain).min() > 1e-3
    close(dreg, plain, rel=1e-6)


def test_sticking_the_landing_is_exact_for_one_draw_and_biased_for_more() -> None:
    """Tucker et al. 2019, section 4: what is left out has mean zero only for K = 1."""
    _, model, x = problem(q=1)
    for k in (1, 2):
        plain = gradient(expected(IWAE(k), model, x[:1]), model.posterior)
        stopped = gradient(expected(IWAE(k, gradient="stopped"), model, x[:1]), model.posterior)
        if k == 1:
            close(stopped, plain, rel=1e-9)
        else:
            assert np.abs(stopped - plain).max() > 0.01 * np.abs(plain).max()


@pytest.mark.parametrize("how", ["stopped", "dreg"])
@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_at_the_exact_posterior_the_encoder_hears_nothing(how: str, posterior: str) -> None:
    _, model, x = problem(exact=True, posterior=posterior)
    for k in (1, 5):
        sizes = {}
        for gradient_of in (how, "pathwise"):
            losses, _ = IWAE(k, gradient=gradient_of)(model, tensor(x), noise=noise(k), step=0)
            sizes[gradient_of] = np.abs(gradient(losses["model"].sum(), model.posterior)).max()
        assert sizes[how] < 1e-10 < 0.1 < sizes["pathwise"]


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_dreg_draw_by_draw(posterior: str) -> None:
    """The encoder gets w~² dlog w/dz dz/dphi, the decoder w~ dlog w/dtheta, and the value is the bound."""
    _, model, x = problem(posterior=posterior)
    losses, t = IWAE(K, gradient="dreg")(model, tensor(x), noise=noise(4), step=0)
    close(-losses["model"], logsumexp(t.log_w.detach().numpy(), 0) - math.log(K))
    found = gradient(-losses["model"].sum(), model.posterior), gradient(-losses["model"].sum(), model.likelihood)
    t = model.terms(tensor(x), samples=K, noise=noise(4), gradient="stopped")
    weight = t.log_w.detach().softmax(0)
    close(found[0], gradient((weight**2 * t.log_w).sum(), model.posterior))
    close(found[1], gradient((weight * t.log_w).sum(), model.likelihood))


def test_impossible_arguments_are_refused() -> None:
    for make in (
        lambda: IWAE(3, gradient="score"),
        lambda: MultiplyIWAE(samples=6, groups=4),
        lambda: PartialIWAE(samples=6, groups=0),
        lambda: CombinedIWAE(weight=1.5),
        lambda: Renyi(alpha=math.nan),
    ):
        with pytest.raises(UsageError, match=r"is .*, expected"):
            make()


def test_draws_with_weights_of_their_own_are_refused_by_name() -> None:
    _, model, x = problem()
    t = terms_of(model, x)
    t.log_weight = torch.full_like(t.log_w, -math.log(K))
    for objective in (IWAE(K, gradient="dreg"), MultiplyIWAE(K, 2)):
        with pytest.raises(UsageError, match=f"{type(objective).__name__} needs draws of equal weight"):
            objective.bound(t, 0)


# ---- values


def test_more_draws_tighten_the_bound() -> None:
    truth, model, x = problem(q=1)
    values = [-expected(IWAE(k), model, x[:1]).item() for k in (1, 2, 3)]
    assert values[0] + 1e-3 < values[1] < values[2] - 1e-4 < truth.log_px(x[:1]).item()
    close(values[0], -expected(ELBO(), model, x[:1]).item())


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_groups_of_draws(groups: int) -> None:
    """K draws in M groups, not M in K: told apart by M K = 6 in 2 and in 3."""
    _, model, x = problem()
    t = terms_of(model, x)
    log_w, size = t.log_w.detach().numpy(), K // groups
    by_hand = np.mean([logsumexp(log_w[g * size : (g + 1) * size], 0) - math.log(size) for g in range(groups)], 0)
    close(multiply_iwae(t, groups), by_hand)
    close(MultiplyIWAE(K, groups).bound(t, 0), by_hand)


def test_groups_reduce_to_the_known_bounds_exactly() -> None:
    _, model, x = problem()
    t = terms_of(model, x)
    assert torch.equal(multiply_iwae(t, 1), iwae(t))
    close(multiply_iwae(t, K), t.log_w.mean(0), rel=1e-14)
    assert torch.equal(CombinedIWAE(K, weight=1.0).bound(t, 0), elbo(t))
    assert torch.equal(CombinedIWAE(K, weight=0.0).bound(t, 0), iwae(t))
    close(CombinedIWAE(K, weight=0.3).bound(t, 0), 0.3 * elbo(t) + 0.7 * iwae(t))


def test_partial_gives_each_side_its_own_bound() -> None:
    _, model, x = problem()
    objective = PartialIWAE(K, 2)
    owners = objective.owners(model)
    assert {n: len(p) for n, p in owners.items()} == {"generative": 3, "recognition": 3}
    losses, _ = objective(model, tensor(x), noise=noise(3), step=0)
    for owner, alone, side in (
        ("generative", IWAE(K), model.likelihood),
        ("recognition", MultiplyIWAE(K, 2), model.posterior),
    ):
        other, _ = alone(model, tensor(x), noise=noise(3), step=0)
        close(losses[owner], other["model"])
        assert sum(p.numel() for p in owners[owner]) == sum(p.numel() for p in side.parameters())
        close(gradient(losses[owner].sum(), side), gradient(other["model"].sum(), side))


def test_a_model_without_a_posterior_of_its_own_is_refused() -> None:
    with pytest.raises(UsageError, match=r"PartialIWAE trains q.* apart, but a Linear has no posterior"):
        PartialIWAE().owners(nn.Linear(2, 2))


@pytest.mark.parametrize("alpha", [-3.0, -0.5, 0.0, 0.5, 2.0, 7.0])
def test_renyi_by_hand(alpha: float) -> None:
    _, model, x = problem()
    t = terms_of(model, x)
    w = np.exp(t.log_w.detach().numpy())
    close(Renyi(alpha, K).bound(t, 0), np.log((w ** (1 - alpha)).mean(0)) / (1 - alpha))


def test_renyi_at_its_limits() -> None:
    _, model, x = problem()
    t = terms_of(model, x)
    close(renyi(t, 0.0), iwae(t))
    close(renyi(t, 1.0), t.log_w.mean(0))
    for near in (1 - 1e-6, 1 + 1e-6):
        close(renyi(t, near), renyi(t, 1.0), rel=1e-4)
    assert torch.equal(renyi(t, -math.inf), t.log_w.amax(0))
    assert torch.equal(renyi(t, math.inf), t.log_w.amin(0))
    close(renyi(t, -300.0), t.log_w.amax(0), rel=0.01)


def test_renyi_falls_with_alpha() -> None:
    _, model, x = problem()
    t = terms_of(model, x)
    values = [renyi(t, alpha) for alpha in (-math.inf, -5, -1, 0, 0.3, 1, 1.5, 4, math.inf)]
    assert all((a > b).all() for a, b in pairwise(values))


def test_renyi_of_many_draws_is_log_px_less_the_divergence() -> None:
    """alpha = 2, two Gaussians in one dimension: L = log p(x) - D_2(q || p(z | x)), by quadrature over one draw."""
    truth, model, x = problem(q=1)
    z, log_weight = hermite(60, 1)
    t = model.terms(tensor(np.repeat(x[:1], len(z), 0)), noise=given(z[None]))
    value = -logsumexp(-t.log_w.detach().numpy()[0] + log_weight)  # log of E[w^-1] ^ -1
    q = model.posterior(tensor(x[:1]))
    m, s2 = q.mean.item(), q.variance.item()
    mean, cov = (v.item() for v in truth.posterior(x[:1]))
    star = 2 * cov - s2  # alpha-weighted variance of the divergence (Gil et al. 2013)
    divergence = (m - mean) ** 2 / star + 0.5 * math.log(cov**2 / (star * s2))
    assert star > 0
    close(value, truth.log_px(x[:1]).item() - divergence, rel=1e-8)
