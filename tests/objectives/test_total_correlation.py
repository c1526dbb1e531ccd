"""The KL in three parts: exact on a finite set of rows, and in closed form for Gaussians."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from oracles import LinearGaussian, close, given, noise, rows, tensor
from vaelab import posteriors
from vaelab.errors import UsageError
from vaelab.models import VAE
from vaelab.networks import Linear
from vaelab.objectives import TotalCorrelation, elbo
from vaelab.objectives.total_correlation import ESTIMATORS, Decomposition, decompose, log_row_weights
from vaelab.training import Settings, optimise

K, B, D, Q = 2, 7, 5, 3


def problem(n: int = B, q: int = Q) -> tuple[VAE, np.ndarray]:
    truth = LinearGaussian.random(D, q, seed=2).rotated()
    V, c, S = truth.encoder()
    return truth.vae(encoder=(0.8 * V, c + 0.1, S * 1.3)), truth.sample(n, seed=5)


def parts_of(model: VAE, x: np.ndarray, eps: np.ndarray, n: int, estimator: str) -> tuple[Decomposition, np.ndarray]:
    t = model.terms(tensor(x), samples=len(eps), noise=given(eps))
    return decompose(t, t.z, log_row_weights(len(x), torch.tensor(float(n)).double(), estimator)), t.z.detach().numpy()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("n", [B, 100])
def test_the_parts_add_up_to_the_kl_exactly(estimator: str, n: int) -> None:
    model, x = problem()
    eps = np.random.default_rng(6).normal(size=(K, B, Q))
    parts, _ = parts_of(model, x, eps, n, estimator)
    t = model.terms(tensor(x), samples=K, noise=given(eps))
    close(parts.information + parts.total_correlation + parts.dimensions, t.log_qz - t.log_pz)
    objective = TotalCorrelation(beta=1.0, estimator=estimator, samples=K)
    objective.start(tensor(x), n)
    close(objective.bound(t, 0), t.log_w.mean(0))


def test_by_hand_on_all_rows() -> None:
    """The batch is the data set: q(z) is the mixture of the rows' posteriors, with loops and scipy."""
    model, x = problem()
    eps = np.random.default_rng(6).normal(size=(K, B, Q))
    parts, z = parts_of(model, x, eps, B, "stratified")
    q = model.posterior(tensor(x))
    mu, sigma = q.mean.detach().numpy(), q.stddev.detach().numpy()
    for k in range(K):
        for b in range(B):
            each = np.array([norm(mu[j], sigma[j]).logpdf(z[k, b]) for j in range(B)])  # (B, Q)
            log_q = logsumexp(each.sum(1)) - math.log(B)
            log_each = sum(logsumexp(each[:, d]) - math.log(B) for d in range(Q))
            close(parts.information[k, b], each[b].sum() - log_q)
            close(parts.total_correlation[k, b], log_q - log_each)
            close(parts.dimensions[k, b], log_each - norm.logpdf(z[k, b]).sum())


def test_stratified_weights_are_unbiased_for_the_density() -> None:
    """The estimate of q(z_i), averaged over every batch of 3 of the 7 rows that holds row i, is q(z_i) exactly."""
    model, x = problem()
    q = model.posterior(tensor(x))
    z = q.mean + 0.3 * q.stddev
    density = q.log_prob(z.unsqueeze(1)).exp().detach()  # (i, j)
    log_weights = log_row_weights(3, torch.tensor(7.0).double(), "stratified")
    for i in range(B):
        others = [j for j in range(B) if j != i]
        found = [(log_weights[0].exp() * density[i, [i, *pair]]).sum().item() for pair in combinations(others, 2)]
        close(float(np.mean(found)), density[i].mean())


def test_weights() -> None:
    n, batch = 100.0, 7
    w = log_row_weights(batch, torch.tensor(n).double(), "stratified").exp()
    close(w.sum(1), np.ones(batch))
    close(w.diagonal(), np.full(batch, 1 / n))
    # Chen et al. 2018, S3.2: M other rows, of which one stands for the rest, averaged over which one
    m = batch - 1
    close(w[0, 1], np.mean([(n - m) / (n * m), *[1 / m] * (m - 1)]))
    close(log_row_weights(batch, torch.tensor(n).double(), "weighted"), np.full((batch, batch), -math.log(n * batch)))
    one = log_row_weights(1, torch.tensor(0.0).double(), "stratified")
    close(one, np.zeros((1, 1)))  # a batch of one row, of a data set that is not known


def test_gaussian_closed_form() -> None:
    """2,000 rows of a linear model: q(z) is N(m, C), TC = -1/2 log det R, within five standard errors of the rows.

    Rows stand for their distribution, an error of 1 / sqrt(2000) that the standard error has in it too.
    """
    truth = LinearGaussian.random(D, 2, seed=2)
    V, c, S = truth.encoder()
    A = np.array([[1.0, 1.2], [0.8, 1.4]])
    model, x = truth.vae(encoder=(A @ V, c, 1.5 * S)), truth.sample(2000, seed=3)
    q = model.posterior(tensor(x))
    within = np.diag(q.variance[0].detach().numpy())
    mean, C = A @ V @ truth.m + c, A @ V @ truth.C @ V.T @ A.T + within
    R = C / np.sqrt(np.outer(np.diag(C), np.diag(C)))
    exact = {
        "information": 0.5 * (np.linalg.slogdet(C)[1] - np.linalg.slogdet(within)[1]),
        "total_correlation": -0.5 * np.linalg.slogdet(R)[1],
        "dimensions": 0.5 * (np.diag(C) + mean**2 - 1 - np.log(np.diag(C))).sum(),
    }
    assert exact["total_correlation"] > 0.1
    parts, _ = parts_of(model, x, np.random.default_rng(1).normal(size=(1, 2000, 2)), 2000, "stratified")
    for name, value in exact.items():
        found = getattr(parts, name)[0].detach().numpy()
        se = found.std() / math.sqrt(len(found))
        assert abs(found.mean() - value) < 5 * se, (name, found.mean(), value, se)
        assert se < 0.05


def test_the_weights_of_the_parts() -> None:
    model, x = problem()
    eps = np.random.default_rng(6).normal(size=(K, B, Q))
    t = model.terms(tensor(x), samples=K, noise=given(eps))
    parts, _ = parts_of(model, x, eps, 100, "stratified")
    objective = TotalCorrelation(alpha=0.3, beta=5.0, gamma=2.0, samples=K)
    objective.start(tensor(x), 100)
    cost = 0.3 * parts.information + 5 * parts.total_correlation + 2 * parts.dimensions
    close(objective.bound(t, 0), (t.log_px - cost).mean(0))


def test_training_says_how_many_rows_there_are() -> None:
    model, x = problem(23)
    objective = TotalCorrelation()
    assert objective.rows == 0
    optimise(model, objective, rows(x), settings=Settings(epochs=1, batch_size=10))
    assert objective.rows == 23
    assert objective.state_dict()["rows"] == 23  # a resumed run knows it


def test_what_does_not_fit_is_refused_by_name() -> None:
    truth = LinearGaussian.random(D, Q, seed=2)
    x = tensor(truth.sample(B))
    with pytest.raises(UsageError, match=r"TotalCorrelation needs a q\(z \| x\) that factorises.* MultivariateNormal"):
        TotalCorrelation()(truth.vae("full"), x, noise=noise(), step=0)
    model = truth.vae()
    model.posterior = posteriors.Point(Linear(D, Q), Q).double()
    with pytest.raises(UsageError, match="PointMass, which has no density"):
        TotalCorrelation()(model, x, noise=noise(), step=0)
    with pytest.raises(UsageError, match="estimator is 'mws', expected 'weighted' or 'stratified'"):
        TotalCorrelation(estimator="mws")


def test_several_stochastic_layers_are_refused_by_name() -> None:
    model, x = problem()
    t = model.terms(tensor(x), samples=K, noise=noise())
    t.z, t.q, t.p = {"z1": t.z, "z2": t.z}, {"z1": t.q, "z2": t.q}, {"z1": t.p, "z2": t.p}
    assert elbo(t).shape == (B,)
    with pytest.raises(UsageError, match=r"TotalCorrelation is a function of one latent vector.* z1, z2"):
        TotalCorrelation().bound(t, 0)
