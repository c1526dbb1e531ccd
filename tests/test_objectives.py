"""Bounds and objectives against loops written by hand in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from oracles import F64, LinearGaussian, close, given, noise, tensor
from vaelab.errors import UsageError
from vaelab.models import VAE, Model
from vaelab.objectives import ELBO, IWAE, Reconstruction, elbo, iwae
from vaelab.objectives.bounds import ramp

K, B, D, Q = 5, 7, 11, 3


def problem(posterior: str = "diagonal"):
    truth = LinearGaussian.random(D, Q, seed=2).rotated()
    V, c, S = truth.encoder()
    x = truth.sample(B, seed=5)
    eps = np.random.default_rng(6).normal(size=(K, B, Q))
    return truth.vae(posterior, encoder=(0.8 * V, c + 0.1, S * 1.3)), x, eps


def by_hand(model: VAE, x: np.ndarray, eps: np.ndarray) -> dict[str, np.ndarray]:
    """Every term with loops and scipy, for the diagonal posterior."""
    W, m = (p.detach().numpy() for p in (model.likelihood.network.map.weight, model.likelihood.network.map.bias))
    q = model.posterior(tensor(x))
    mu, sigma = q.mean.detach().numpy(), q.stddev.detach().numpy()
    noise_scale = model.likelihood(torch.zeros(1, Q, dtype=F64)).stddev.detach().numpy()[0, 0]
    out = {name: np.zeros((len(eps), B)) for name in ("log_px", "log_pz", "log_qz")}
    out["kl"] = np.zeros((B, Q))
    for b in range(B):
        for d in range(Q):
            out["kl"][b, d] = 0.5 * (mu[b, d] ** 2 + sigma[b, d] ** 2 - 1) - math.log(sigma[b, d])
        for k in range(len(eps)):
            z = mu[b] + sigma[b] * eps[k, b]
            out["log_px"][k, b] = norm(W @ z + m, noise_scale).logpdf(x[b]).sum()
            out["log_pz"][k, b] = norm.logpdf(z).sum()
            out["log_qz"][k, b] = norm(mu[b], sigma[b]).logpdf(z).sum()
    return out


def loss(objective, model, x, eps, step=0) -> torch.Tensor:
    losses, terms = objective(model, tensor(x), noise=given(eps), step=step)
    assert set(losses) == {"model"}
    assert losses["model"].shape == (B,)
    assert terms.samples == objective.samples
    return losses["model"]


def test_terms() -> None:
    model, x, eps = problem()
    terms, hand = model.terms(tensor(x), samples=K, noise=given(eps)), by_hand(model, x, eps)
    for name in ("log_px", "log_pz", "log_qz"):
        close(getattr(terms, name), hand[name])
    close(terms.log_w, hand["log_px"] + hand["log_pz"] - hand["log_qz"])
    close(terms.kl["z"], np.tile(hand["kl"], (K, 1, 1)))
    close(terms.kl_total, np.tile(hand["kl"].sum(1), (K, 1)))


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 4.0])
def test_elbo(beta: float) -> None:
    model, x, eps = problem()
    hand = by_hand(model, x, eps)
    exact = hand["log_px"].mean(0) - beta * hand["kl"].sum(1)
    close(-loss(ELBO(beta=beta, samples=K), model, x, eps), exact)
    close(elbo(model.terms(tensor(x), samples=K, noise=given(eps)), beta), exact)


def test_elbo_with_the_parameters_of_q_held_samples_its_kl() -> None:
    model, x, eps = problem()
    hand = by_hand(model, x, eps)
    sampled = (hand["log_qz"] - hand["log_pz"]).mean(0)
    close(-loss(ELBO(beta=2.0, samples=K, gradient="stopped"), model, x, eps), hand["log_px"].mean(0) - 2 * sampled)


@pytest.mark.parametrize(("step", "weight"), [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (10**6, 1.0)])
def test_warm_up(step: int, weight: float) -> None:
    """The weight of the KL is (step + 1) / warmup: not 0 at the first step, whole at the last of the ramp and after."""
    model, x, eps = problem()
    hand = by_hand(model, x, eps)
    exact = hand["log_px"].mean(0) - 3.0 * weight * hand["kl"].sum(1)
    close(-loss(ELBO(beta=3.0, warmup=10, samples=K), model, x, eps, step), exact)
    assert ramp(step, 10) == pytest.approx(weight, rel=1e-15)
    assert ramp(step, 0) == 1.0


@pytest.mark.parametrize("free_bits", [0.05, 0.4, 1.1, 50.0])
@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_free_bits(free_bits: float, beta: float) -> None:
    model, x, eps = problem()
    hand = by_hand(model, x, eps)
    penalty = 0.0
    for d in range(Q):  # Kingma et al. 2016, eq. 15: the maximum is taken of the average over the batch
        average = sum(hand["kl"][b, d] for b in range(B)) / B
        penalty += max(free_bits, average)
    losses = loss(ELBO(beta=beta, free_bits=free_bits, samples=K), model, x, eps)
    close(-losses.mean(), (hand["log_px"].mean(0)).mean() - beta * penalty)
    gradient = torch.autograd.grad(losses.sum(), model.posterior.log_scale)[0]
    alive = torch.autograd.grad(loss(ELBO(beta=0, samples=K), model, x, eps).sum(), model.posterior.log_scale)[0]
    spent = hand["kl"].mean(0) > free_bits
    assert ((gradient - alive).abs().numpy() > 1e-9).tolist() == spent.tolist()


def test_free_bits_per_layer() -> None:
    """max(free_bits, KL of the layer), with two layers made of one: the first spends, the second does not."""
    model, x, eps = problem()
    t = model.terms(tensor(x), samples=K, noise=given(eps))
    kl = by_hand(model, x, eps)["kl"]
    log_px = t.log_px.mean(0)
    total = kl.sum(1).mean()
    for bits, cost in ((total - 0.1, kl.sum(1)), (total + 0.1, np.full(B, total + 0.1))):
        close(ELBO(free_bits=float(bits), free_per="layer", samples=K).bound(t, 0), log_px - tensor(cost))
    t.kl = {"upper": t.kl["z"][..., :1], "lower": t.kl["z"][..., 1:]}
    upper, lower = kl[:, 0], kl[:, 1:].sum(1)
    bits = (upper.mean() + lower.mean()) / 2
    spent = [v if v.mean() > bits else np.full(B, bits) for v in (upper, lower)]
    close(ELBO(free_bits=float(bits), free_per="layer", samples=K).bound(t, 0), log_px - tensor(spent[0] + spent[1]))
    assert (upper.mean() > bits) != (lower.mean() > bits)


def test_free_bits_spare_some_dimensions_and_not_others() -> None:
    model, x, eps = problem()
    kl = by_hand(model, x, eps)["kl"].mean(0)
    assert len({(kl > f).sum() for f in (0.05, 0.4, 1.1, 50.0)}) >= 3


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_iwae(posterior: str) -> None:
    model, x, eps = problem(posterior)
    terms = model.terms(tensor(x), samples=K, noise=given(eps))
    log_w = terms.log_w.detach().numpy()
    exact = logsumexp(log_w, 0) - math.log(K)
    close(iwae(terms), exact)
    close(-loss(IWAE(K), model, x, eps), exact)
    assert (exact > log_w.mean(0) + 1e-4).all()
    normalised = np.exp(log_w - logsumexp(log_w, 0))
    assert ((normalised * log_w).sum(0) > exact + 1e-4).all()  # the well-known overstatement is another number


def test_iwae_of_one_draw_is_the_sampled_elbo() -> None:
    model, x, eps = problem()
    close(loss(IWAE(1), model, x, eps[:1]), loss(ELBO(gradient="stopped"), model, x, eps[:1]))


@pytest.mark.parametrize("k", [1, 2, 13])
@pytest.mark.parametrize("kind", [IWAE, lambda samples: ELBO(samples=samples), Reconstruction])
def test_exactly_k_draws_are_made(k: int, kind, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, _ = problem()
    source, asked = noise(), []
    plain = source.normal
    monkeypatch.setattr(source, "normal", lambda shape, like: asked.append(tuple(shape)) or plain(shape, like))
    kind(k)(model, tensor(x), noise=source, step=0)
    assert asked == [(k, B, Q)]


def test_reconstruction() -> None:
    model, x, eps = problem()
    close(-loss(Reconstruction(K), model, x, eps), by_hand(model, x, eps)["log_px"].mean(0))


def test_weights_of_the_draws_enter_the_mean_and_the_bound() -> None:
    model, x, eps = problem()
    terms = model.terms(tensor(x), samples=K, noise=given(eps))
    plain = iwae(terms), terms.mean(terms.log_px), terms.mean(terms.kl["z"])
    terms.log_weight = torch.full((K, B), -math.log(K), dtype=F64)
    for a, b in zip(plain, (iwae(terms), terms.mean(terms.log_px), terms.mean(terms.kl["z"]))):
        close(a, b)
    weight = np.random.default_rng(1).dirichlet(np.ones(K), size=B).T
    terms.log_weight = tensor(np.log(weight))
    close(terms.mean(terms.log_px), (weight * terms.log_px.detach().numpy()).sum(0))
    close(iwae(terms), logsumexp(terms.log_w.detach().numpy(), 0, b=weight))


def test_rows_do_not_mix() -> None:
    """The loss of a row is the same alone and in a batch (free bits say that they couple rows)."""
    model, x, eps = problem()
    for objective in (ELBO(samples=K), IWAE(K), Reconstruction(K)):
        whole = loss(objective, model, x, eps)
        for b in range(B):
            losses, _ = objective(model, tensor(x[[b]]), noise=given(eps[:, [b]]), step=0)
            close(losses["model"][0], whole[b])


@pytest.mark.parametrize(
    "make",
    [
        lambda: ELBO(beta=-1),
        lambda: ELBO(warmup=-1),
        lambda: ELBO(free_bits=-0.1),
        lambda: ELBO(samples=0),
        lambda: ELBO(gradient="score"),
        lambda: IWAE(0),
    ],
)
def test_impossible_arguments_are_refused(make) -> None:
    with pytest.raises(UsageError):
        make()


def test_model_arguments_are_checked() -> None:
    model, x, _ = problem()
    assert isinstance(model, Model)
    with pytest.raises(UsageError, match="samples must be at least 1"):
        model.terms(tensor(x), samples=0)
    with pytest.raises(UsageError, match="gradient is one of pathwise, stopped, score; got 'path'"):
        model.terms(tensor(x), gradient="path")
    with pytest.raises(UsageError, match="n must not be negative"):
        model.generate(-1)
    with pytest.raises(UsageError, match="3 rows asked for, but the condition has 2"):
        model.generate(3, condition=torch.zeros(2, 1))
    with pytest.raises(UsageError, match=r"gave \(7, 1, 3\) for 7 rows; Gaussian with latent_dim 3 needs \(7, 3\)"):
        model.terms(tensor(x)[:, None])
    terms = model.terms(tensor(x), noise=noise())
    terms.x = tensor(x)[:, None]  # as if the likelihood's shape were not x's
    with pytest.raises(UsageError, match=r"expected \(draws, rows\) = \(1, 7\)"):
        _ = terms.log_px
    assert model.generate(0).shape == (0, D)
