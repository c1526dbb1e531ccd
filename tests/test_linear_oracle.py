"""A linear VAE is probabilistic PCA: bound, evidence, split, gap and collapse against closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from oracles import (
    F64,
    LinearGaussian,
    assign,
    close,
    gaussian_kl,
    given,
    hermite,
    noise,
    relative_variance,
    rows,
    spectrum,
    table,
    tensor,
    within,
)
from vaelab.evaluation import active_units, evaluate_model, evidence_rows, mutual_information
from vaelab.objectives import ELBO, elbo, iwae
from vaelab.training import Rows, validation_bound

D, Q, B, K = 7, 3, 11, 5
EXACT = [("diagonal", False), ("full", False), ("full", True)]


def problem(rotated: bool = False, q: int = Q) -> tuple[LinearGaussian, np.ndarray]:
    truth = LinearGaussian.random(D, q)
    return (truth.rotated() if rotated else truth), truth.sample(B, seed=3)


@pytest.mark.parametrize(("posterior", "rotated"), EXACT)
def test_with_the_exact_posterior_every_draw_gives_log_p_of_x(posterior: str, rotated: bool) -> None:
    truth, x = problem(rotated)
    exact = truth.log_px(x)
    terms = truth.vae(posterior).terms(tensor(x), samples=K, noise=noise())
    close(terms.log_w, np.tile(exact, (K, 1)))
    assert terms.log_w.std(0).max() < 1e-11
    close(iwae(terms), exact)
    close(elbo(replace(terms, gradient="stopped")), exact)  # the sampled KL


@pytest.mark.parametrize(("posterior", "rotated"), EXACT)
def test_every_term_has_its_closed_form(posterior: str, rotated: bool) -> None:
    truth, x = problem(rotated)
    mean, S = truth.posterior(x)
    model = truth.vae(posterior)
    values = evidence_rows(model, rows(x), samples=K)
    kl = gaussian_kl(mean, S, np.zeros((1, Q)), np.eye(Q))
    close(values.kl.sum(1), kl)
    close(values.reconstruction, truth.reconstruction(x, mean, S))
    close(values.elbo, truth.log_px(x))
    close(values.evidence, truth.log_px(x))
    close(values.mean, mean)
    close(values.reconstruction - values.kl.sum(1), values.elbo)
    assert values.closed_form
    assert values.kl.shape == ((B, Q) if posterior == "diagonal" else (B, 1))
    if posterior == "diagonal":
        each = np.stack([gaussian_kl(mean[:, [i]], S[[i]][:, [i]], np.zeros((1, 1)), np.eye(1)) for i in range(Q)], 1)
        close(values.kl, each)
    terms = model.terms(tensor(x), samples=K, noise=noise(4))
    z = terms.z.detach().numpy()
    square = ((x - z @ truth.W.T - truth.m) ** 2).sum(-1)
    close(terms.log_px, -0.5 * square / truth.s2 - D / 2 * math.log(2 * math.pi * truth.s2))
    close(terms.log_pz, -0.5 * (z**2).sum(-1) - Q / 2 * math.log(2 * math.pi))


def test_float32_agrees_to_float32() -> None:
    truth, x = problem()
    terms = truth.vae().float().terms(tensor(x).float(), samples=K, noise=noise())
    assert terms.log_w.dtype == torch.float32
    close(terms.log_w, np.tile(truth.log_px(x), (K, 1)), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_gap_is_the_kl_to_the_posterior(seed: int) -> None:
    """W rotated: no diagonal q is exact, and log p(x) - ELBO = KL(q || p(z | x))."""
    truth = LinearGaussian.random(D, Q, seed).rotated(seed)
    x = truth.sample(B, seed)
    mean, S = truth.posterior(x)
    best = np.diag(1 / np.diag(np.linalg.inv(S)))
    nodes, log_weight = hermite(6, Q)  # exact for polynomials of degree 11; log w is quadratic
    noise_at_nodes = np.repeat(nodes[:, None], B, 1)
    terms = truth.vae().terms(tensor(x), samples=len(nodes), noise=given(noise_at_nodes))
    terms.log_weight = tensor(np.repeat(log_weight[:, None], B, 1))
    gap = gaussian_kl(mean, best, mean, S)
    assert gap.min() > 0.01
    close(truth.log_px(x) - elbo(terms).detach().numpy(), gap, rel=1e-9)
    close(terms.mean(terms.log_w), truth.log_px(x) - gap, rel=1e-9)
    close(terms.mean(terms.log_px), truth.reconstruction(x, mean, best), rel=1e-9)


def wrong(truth: LinearGaussian) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An encoder that is off in place and in spread, whose weights still have a variance."""
    V, c, S = truth.encoder()
    return V, c + 0.15, S * 1.3


def test_importance_estimate_is_right_with_a_wrong_posterior() -> None:
    truth, x = problem(rotated=True)
    model = truth.vae("full", encoder=wrong(truth))
    mean, S = truth.posterior(x)
    V, c, S_q = wrong(truth)
    samples = 5003  # an odd block at the end
    values = evidence_rows(model, rows(x), samples=samples)
    chi2 = relative_variance(mean, S, x @ V.T + c, S_q)
    z = (values.evidence.numpy() - truth.log_px(x)) / np.sqrt(chi2 / samples)
    assert np.abs(z).max() < 5
    assert math.sqrt(chi2.max() / samples) < 0.03  # so an error of 0.15 nats in one row would be found
    assert abs(z.mean()) * math.sqrt(B) < 5
    gap = gaussian_kl(x @ V.T + c, S_q, mean, S)
    spread = model.terms(tensor(x), samples=997, noise=noise()).log_w.detach().std(0).numpy() / math.sqrt(samples)
    assert (np.abs(values.elbo.numpy() - truth.log_px(x) + gap) < 5 * spread).all()


def test_the_bound_rises_with_the_number_of_draws_by_the_known_bias() -> None:
    """log p - E L_k ~ chi2(p || q) / (2 k); the mean of w / p(x) is exactly 1, which serves as control variate."""
    truth, x = problem(rotated=True)
    x, many = x[:2], 20_000
    V, c, S_q = wrong(truth)
    model = truth.vae("full", encoder=wrong(truth))
    exact = truth.log_px(x)
    mean, S = truth.posterior(x)
    chi2 = relative_variance(mean, S, x @ V.T + c, S_q)
    source, bound = noise(5), {}
    with torch.no_grad():
        log_w = torch.cat([model.terms(tensor(x), samples=64 * 500, noise=source).log_w for _ in range(many // 500)])
    log_w = log_w.view(64, many, len(x))
    for k in (1, 2, 8, 32, 64):
        parts = log_w.unflatten(0, (64 // k, k)).logsumexp(1) - math.log(k)
        bound[k] = parts.mean(0).numpy() - exact  # paired draws
    for a, b in ((1, 2), (2, 8), (8, 32), (32, 64)):
        rise = bound[b] - bound[a]
        se = rise.std(0) / math.sqrt(many)
        assert (rise.mean(0) > -4 * se).all()
        assert (bound[b].mean(0) < 4 * bound[b].std(0) / math.sqrt(many)).all()
    assert ((bound[32] - bound[1]).mean(0) > 0.05).all()
    weight = (log_w.logsumexp(0).numpy() - math.log(64) - exact).astype(float)
    bias = -(bound[64] - (np.exp(weight) - 1)).mean(0)
    assert np.abs(bias / (chi2 / 128) - 1).max() < 0.1


@pytest.mark.parametrize(("beta", "active"), [(1.0, 7), (2.0, 4), (4.0, 1)])
def test_collapse_on_wine_at_the_exact_thresholds(beta: float, active: int) -> None:
    """With sigma^2 = 1/2 held, latent i is alive if and only if lambda_i > beta sigma^2: a stationary point."""
    data = table("wine_red", "quality")
    some = Rows(data, dtype=F64)
    x = some.data.numpy()
    values, vectors = spectrum(x)
    assert (values > 0.5 * beta).sum() == active
    q = x.shape[1]
    kept = np.sqrt(np.clip(values - 0.5 * beta, 0, None))
    at = LinearGaussian(vectors * kept, x.mean(0), 0.5 * beta)  # the posterior is that of noise beta sigma^2
    model = at.vae("diagonal", scale=math.sqrt(0.5))
    objective = ELBO(beta=beta)
    nodes = [np.zeros((2 * q, q))]
    nodes[0][np.arange(q), np.arange(q)] = math.sqrt(q)  # +- sqrt(q) e_i: a rule exact for quadratics
    nodes[0][q + np.arange(q), np.arange(q)] = -math.sqrt(q)
    terms = model.terms(some.data, samples=2 * q, noise=given(np.repeat(nodes[0][:, None], len(x), 1)))
    value = objective.bound(terms, 0).mean()
    rate = 0.5 * np.log(values[:active] / (0.5 * beta)).sum()
    close(terms.kl_total.mean(), rate, rel=1e-8)
    value.backward()
    assert max(p.grad.abs().max().item() for p in model.parameters()) < 1e-9
    assert active_units(evidence_rows(model, some, samples=1).mean) == active
    alive = terms.kl["z"].detach().mean((0, 1)) > 1e-6
    assert alive.sum() == active
    first = (model.likelihood.network.map.weight.detach() ** 2).sum(0)[0].item()
    assert first == pytest.approx({1.0: 2.599, 2.0: 2.099, 4.0: 1.099}[beta], abs=6e-4)
    with torch.no_grad():  # a step along any column lowers it, or leaves it if that column is only rotated
        for i in range(active):
            model.likelihood.network.map.weight[:, i] *= 1.01
            moved = model.terms(some.data, samples=2 * q, noise=given(np.repeat(nodes[0][:, None], len(x), 1)))
            assert objective.bound(moved, 0).mean() < value
            model.likelihood.network.map.weight[:, i] /= 1.01


PUBLISHED = [
    ("wine_red", "quality", 1, 0.79008676, -14.995822),
    ("wine_red", "quality", 2, 0.66388421, -14.658170),
    ("wine_red", "quality", 5, 0.37531496, -13.856782),
    ("breast_cancer_wdbc", None, 1, 0.57649629, -35.874944),
    ("breast_cancer_wdbc", None, 2, 0.39382278, -31.684860),
    ("breast_cancer_wdbc", None, 5, 0.18318871, -24.625057),
    ("breast_cancer_wdbc", None, 10, 0.07264678, -18.185031),
    ("banknote", "forged", 1, 0.60669864, -5.315810),
    ("banknote", "forged", 2, 0.26347051, -4.860123),
]


@pytest.mark.parametrize(("name", "drop", "q", "s2", "mean_ll"), PUBLISHED)
def test_evaluate_gives_the_known_maximum_on_real_tables(
    name: str, drop: str | None, q: int, s2: float, mean_ll: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = table(name, drop or WDBC_LABEL)
    some = Rows(data, dtype=F64)
    optimum = LinearGaussian.fit(some.data.numpy(), q)
    assert optimum.s2 == pytest.approx(s2, abs=1e-8)
    monkeypatch.setattr("vaelab.evaluation.evaluate.mutual_information", lambda *a, **k: None)  # has its own test
    model = optimum.vae("diagonal")
    got = evaluate_model(model, some, samples=2, units="standardised")
    for figure in (got.log_evidence, got.elbo):
        assert figure.value == pytest.approx(mean_ll, abs=1e-6)
        assert figure.value == pytest.approx(optimum.log_px(some.data.numpy()).mean(), rel=1e-10)
    if (name, q) == ("wine_red", 2):
        assert got.kl.value == pytest.approx(1.302908, abs=1e-6)
        assert got.reconstruction.value == pytest.approx(-13.355262, abs=1e-6)
    raw = evaluate_model(model, some, samples=2, units="user").log_evidence.value
    spread = data.x.numpy().std(0)
    assert raw == pytest.approx(got.log_evidence.value - np.log(spread).sum(), rel=1e-10)


WDBC_LABEL = "benign"


def test_rotation_does_not_move_the_evidence_on_a_real_table() -> None:
    some = Rows(table("wine_red", "quality"), dtype=F64)
    optimum = LinearGaussian.fit(some.data.numpy(), 5).rotated()
    close(evidence_rows(optimum.vae("full"), some, samples=2).evidence, optimum.log_px(some.data.numpy()))


def test_mutual_information_of_the_linear_model() -> None:
    """z = V x + c + noise with x ~ N(m, C): I = 1/2 log det (V C V' + S) / det S."""
    truth, _ = problem()
    x = truth.sample(5000, seed=8)
    V, _, S = truth.encoder()
    exact = 0.5 * (np.linalg.slogdet(V @ truth.C @ V.T + S)[1] - np.linalg.slogdet(S)[1])
    value, marginal, se = mutual_information(truth.vae(), rows(x))
    assert 0.002 < se < 0.03
    assert abs(value - exact) < 5 * se + 0.01  # the own term of q(z) adds less than that at 5,000 rows
    assert abs(marginal) < 0.1  # the aggregate posterior of the true model is the prior
    kl = gaussian_kl(*truth.posterior(x), np.zeros((1, Q)), np.eye(Q))
    pair = evidence_rows(truth.vae(), rows(x[:1000]), samples=2)
    close(pair.kl.sum(1), kl[:1000])
    assert abs(value + marginal - kl.mean()) < 5 * (kl.std() + 1) / math.sqrt(5000)


def test_mutual_information_of_a_finite_set_by_quadrature() -> None:
    """E KL = I + KL(q(z) || p(z)), with q(z) a mixture of 5 Gaussians integrated on a grid."""
    truth = LinearGaussian.random(D, 1, seed=2, s2=3.0)
    few = truth.sample(5, seed=1)
    mean, S = truth.posterior(few)
    z = np.linspace(-12, 12, 20_001)
    step, s = z[1] - z[0], math.sqrt(S[0, 0])
    each = np.exp(-0.5 * ((z - mean) / s) ** 2) / (s * math.sqrt(2 * math.pi))
    mixture = each.mean(0)
    log = np.log(np.maximum(mixture, 1e-300))
    entropy_given = -(0.5 * math.log(2 * math.pi * s**2) + 0.5)
    information = entropy_given - (mixture * log).sum() * step
    marginal = (mixture * (log + 0.5 * z**2 + 0.5 * math.log(2 * math.pi))).sum() * step
    close(information + marginal, gaussian_kl(mean, S, np.zeros((1, 1)), np.eye(1)).mean(), rel=1e-8)
    repeated = np.tile(few, (997, 1))
    value, rest, se = mutual_information(truth.vae(), rows(repeated))
    assert se < 0.02
    assert abs(value - information) < 5 * se
    assert abs(rest - marginal) < 5 * 0.02
    assert value < math.log(5)


def test_mutual_information_is_capped_by_the_number_of_rows() -> None:
    truth = LinearGaussian.random(D, Q, s2=1e-6)
    value, _, se = mutual_information(truth.vae(), rows(truth.sample(53)))
    assert value == pytest.approx(math.log(53), abs=1e-6)
    assert se < 1e-6


def test_validation_bound_is_the_mean_over_rows() -> None:
    truth, _ = problem()
    x = truth.sample(1009, seed=6)  # several passes, the last one partial
    bound, value, reconstruction, kl = validation_bound(truth.vae(), rows(x))
    assert bound == value
    assert value == pytest.approx(truth.log_px(x).mean(), rel=1e-10)
    assert reconstruction - kl == pytest.approx(value, rel=1e-12)


def test_generated_rows_have_the_moments_of_the_model() -> None:
    truth, _ = problem()
    model = truth.vae()
    x = model.generate(20_011, noise=noise(2))
    centred = x.detach().numpy() - truth.m
    within(centred, np.zeros(D))
    within(centred[:, :, None] * centred[:, None, :], truth.C)
    means = model.generate(20_011, noise=noise(3), means=True).detach().numpy() - truth.m
    within(means[:, :, None] * means[:, None, :], truth.W @ truth.W.T)
    cold = model.generate(20_011, noise=noise(3), means=True, temperature=0.5).detach().numpy() - truth.m
    close(cold, 0.5 * means)


def test_calibration_at_the_exact_posterior() -> None:
    """(z - E_q z) / sd_q is N(0, 1) for z ~ p(z), x ~ p(x | z): moments of the standardised truth."""
    truth, _ = problem()
    rng = np.random.default_rng(1)
    z = rng.normal(size=(20_011, Q))
    x = z @ truth.W.T + truth.m + math.sqrt(truth.s2) * rng.normal(size=(len(z), D))
    q = truth.vae().posterior(tensor(x))
    u = (z - q.mean.detach().numpy()) / q.stddev.detach().numpy()
    within(u, np.zeros(Q))
    within(u**2, np.ones(Q))


def test_a_weight_assigned_to_the_wrong_place_is_seen() -> None:
    """The oracle's own control: transposed, scaled or shifted weights no longer give log p(x)."""
    truth, x = problem()
    for spoil in (
        lambda m: m.likelihood.log_scale,
        lambda m: m.posterior.log_scale,
        lambda m: m.likelihood.network.map.bias,
    ):
        model = truth.vae()
        parameter = spoil(model)
        assign(parameter, parameter.detach().numpy() + 1e-3)
        terms = model.terms(tensor(x), samples=K, noise=noise())
        assert np.abs(terms.log_w.detach().numpy() - truth.log_px(x)).max() > 1e-5
