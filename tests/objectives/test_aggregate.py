"""MMD, sliced Wasserstein, covariances, capacity, the regularised autoencoder: closed forms and loops by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical

from oracles import F64, LinearGaussian, close, given, noise, tensor, within
from vaelab import likelihoods, posteriors, priors
from vaelab.errors import UsageError
from vaelab.models import VAE
from vaelab.networks import MLP, Linear
from vaelab.objectives import DIP, MMD, RAE, Capacity, SlicedWasserstein, elbo, mmd, sliced_wasserstein
from vaelab.objectives.autoencoder import jacobian_norm
from vaelab.objectives.discrepancy import kernel_matrix
from vaelab.objectives.moments import aggregated_covariance

K, B, D, Q = 2, 7, 5, 3


def problem(posterior: str = "diagonal") -> tuple[VAE, Tensor]:
    truth = LinearGaussian.random(D, Q, seed=2).rotated()
    V, c, S = truth.encoder()
    return truth.vae(posterior, encoder=(0.8 * V, c + 0.1, S * 1.3)), tensor(truth.sample(B, seed=5))


def point(model: VAE) -> VAE:
    model.posterior = posteriors.Point(model.posterior.network, Q)
    return model


# ---- MMD


def test_kernels_by_hand() -> None:
    a, b = torch.randn(K, B, Q, dtype=F64), torch.randn(K, D, Q, dtype=F64)
    for k in range(K):
        for i in range(B):
            for j in range(D):
                u = ((a[k, i] - b[k, j]) ** 2).sum().item() / (2 * Q * 0.7**2)
                close(kernel_matrix(a, b, "imq", 0.7)[k, i, j], 1 / (1 + u))
                close(kernel_matrix(a, b, "rbf", 0.7)[k, i, j], math.exp(-u))


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_by_hand(kernel: str) -> None:
    """The mean of the rows' parts is the U-statistic: no row is compared with itself."""
    a, b = torch.randn(1, B, Q, dtype=F64), torch.randn(1, B, Q, dtype=F64) + 0.5
    matrices = [kernel_matrix(u, v, kernel, 1.3)[0].numpy() for u, v in ((a, a), (b, b), (a, b))]
    total = 0.0
    for i in range(B):
        for j in range(B):
            if i != j:
                total += (matrices[0][i, j] + matrices[1][i, j]) / (B * (B - 1))
            total -= 2 * matrices[2][i, j] / B**2
    close(mmd(a, b, kernel, 1.3).mean(), total)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_of_equal_distributions_has_mean_zero(kernel: str) -> None:
    """20,000 pairs of samples of 5 rows; a biased estimate would have mean 2 (1 - E k) / 5, about 0.2."""
    a, b = (torch.randn(20_000, 5, Q, generator=noise(s).generator, dtype=F64) for s in (1, 2))
    within(mmd(a, b, kernel).mean(1), 0.0)


def test_mmd_of_gaussians_with_the_rbf_kernel() -> None:
    """E k = (1 + s²/l²)^(-Z/2) exp(-|m|² / (2 (l² + s²))) for a difference N(m, s² I), l² = Z scale²."""
    shift, deviation, scale = torch.tensor([0.5, -0.3, 0.8], dtype=F64), 0.6, 0.8
    a = torch.randn(10_000, 7, Q, generator=noise(1).generator, dtype=F64)
    b = shift + deviation * torch.randn(10_000, 7, Q, generator=noise(2).generator, dtype=F64)

    def mean_kernel(variance: float, square: float) -> float:
        length = Q * scale**2
        return (1 + variance / length) ** (-Q / 2) * math.exp(-0.5 * square / (length + variance))

    exact = mean_kernel(2.0, 0.0) + mean_kernel(2 * deviation**2, 0.0)
    exact -= 2 * mean_kernel(1 + deviation**2, float(shift.square().sum()))
    assert exact > 0.05
    within(mmd(a, b, "rbf", scale).mean(1), exact)


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_the_mmd_objective_by_hand(beta: float) -> None:
    model, x = problem()
    eps, other = torch.randn(K, B, Q, dtype=F64), torch.randn(K, B, Q, dtype=F64)
    losses, t = MMD(weight=3.0, beta=beta, samples=K)(model, x, noise=given(eps, other), step=0)
    fit = t.log_px.mean(0) - beta * t.kl["z"][0].sum(-1)
    close(losses["model"].mean(), 3 * mmd(t.z, other).mean() - fit.mean())
    assert losses["model"].shape == (B,)


def test_a_batch_of_one_row_is_finite() -> None:
    model, x = problem()
    for objective in (MMD(), SlicedWasserstein(), DIP()):
        losses, _ = objective(model, x[:1], noise=noise(), step=0)
        assert torch.isfinite(losses["model"]).all()


# ---- sliced Wasserstein


def test_sliced_wasserstein_of_a_shift() -> None:
    """A shift by d moves every projection by d . u: no matching is better than that, whatever the order of the rows."""
    z, d = torch.randn(K, B, Q, dtype=F64), torch.tensor([0.4, -1.0, 0.2], dtype=F64)
    u = torch.nn.functional.normalize(torch.randn(11, Q, dtype=F64), dim=-1)
    moved = (z + d)[:, torch.randperm(B)]
    close(sliced_wasserstein(z, moved, u), (u @ d).square().mean().expand(K))
    close(sliced_wasserstein(z, z.flip(1), u), np.zeros(K))


def test_the_sliced_objective_by_hand() -> None:
    model, x = problem()
    eps, other, u = (torch.randn(*shape, dtype=F64) for shape in ((K, B, Q), (K, B, Q), (1, 11, Q)))
    objective = SlicedWasserstein(weight=3.0, projections=11, samples=K)
    losses, t = objective(model, x, noise=given(eps, other, u), step=0)
    distance = np.zeros(K)
    for k in range(K):
        for v in u[0].numpy():
            v = v / np.linalg.norm(v)
            a, b = np.sort(t.z[k].detach().numpy() @ v), np.sort(other[k].numpy() @ v)
            distance[k] += ((a - b) ** 2).mean() / 11
    close(losses["model"], 3 * distance.mean() - t.log_px.mean(0))


# ---- moments


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
@pytest.mark.parametrize("kind", ["i", "ii"])
def test_dip_by_hand(kind: str, posterior: str) -> None:
    model, x = problem(posterior)
    q = model.posterior(x)
    C = np.cov(q.mean.detach().numpy().T, bias=True)
    if kind == "ii":
        full = q.covariance_matrix if posterior == "full" else torch.diag_embed(q.variance)
        C = C + full.mean(0).detach().numpy()
    close(aggregated_covariance(q, kind == "ii"), C)
    off = sum(C[i, j] ** 2 for i in range(Q) for j in range(Q) if i != j)
    on = sum((C[i, i] - 1) ** 2 for i in range(Q))
    t = model.terms(x, samples=K, noise=noise())
    found = DIP(kind, off_diagonal=3.0, diagonal=7.0, samples=K).bound(t, 0)
    close(found, elbo(t) - 3 * off - 7 * on)


def test_the_covariance_is_that_of_z() -> None:
    """100,000 draws from the mixture of 7 posteriors, entry by entry."""
    model, x = problem("full")
    z = model.terms(x, samples=15_000, noise=noise()).z.detach()
    centred = z - model.posterior(x).mean.mean(0)
    squares = (centred.unsqueeze(-1) * centred.unsqueeze(-2)).mean(1)  # (K, Z, Z), each with its mean the covariance
    within(squares, aggregated_covariance(model.posterior(x), True))


# ---- capacity


@pytest.mark.parametrize(("step", "target"), [(0, 0.5), (9, 5.0), (19, 10.0), (20, 10.0), (10**6, 10.0)])
def test_capacity_schedule(step: int, target: float) -> None:
    model, x = problem()
    t = model.terms(x, samples=K, noise=noise())
    kl = t.kl["z"][0].sum(-1)
    exact = t.log_px.mean(0) - 30 * (kl - target).abs()
    close(Capacity(gamma=30.0, capacity=10.0, warmup=20, samples=K).bound(t, step), exact)
    if step == 20:
        close(Capacity(gamma=30.0, capacity=10.0, warmup=0, samples=K).bound(t, 0), exact)


def test_capacity_pulls_the_kl_from_both_sides() -> None:
    model, x = problem()
    kl = model.terms(x, noise=noise()).kl_total.mean()
    up, down = (
        torch.autograd.grad(
            Capacity(1e6, capacity, warmup=0)(model, x, noise=noise(), step=0)[0]["model"].sum(),
            model.posterior.log_scale,
        )[0]
        for capacity in (100.0, 0.0)
    )
    (rise,) = torch.autograd.grad(kl, model.posterior.log_scale)
    assert 0 < kl < 100
    assert (up * rise < 0).all()
    assert (down * rise > 0).all()


# ---- the regularised autoencoder


def test_rae_l2_by_hand() -> None:
    model, x = problem()
    model = point(model)
    losses, t = RAE(beta=0.3, weight=0.05)(model, x, noise=noise(), step=0)
    code = model.posterior.network(x)
    weights = sum((p.detach() ** 2).sum() for p in model.likelihood.parameters())
    close(losses["model"], -t.log_px[0] + 0.15 * (code**2).sum(1) + 0.05 * weights)


def decoder(kind: str) -> VAE:
    network = MLP(Q, (D,), (11,), "tanh")
    likelihood = likelihoods.Bernoulli(network, (D,)) if kind == "bernoulli" else likelihoods.Gaussian(network, (D,))
    return VAE(prior=priors.Gaussian(Q), posterior=posteriors.Point(Linear(D, Q), Q), likelihood=likelihood).double()


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_the_gradient_penalty_is_the_norm_of_the_jacobian(kind: str) -> None:
    """The average over sqrt(D) times each unit vector is exact: it meets the norm by finite differences."""
    model, x = decoder(kind), torch.rand(B, D, dtype=F64)
    directions = (math.sqrt(D) * torch.eye(D, dtype=F64))[:, None].expand(D, B, D)
    t = model.terms(x, samples=D)
    with torch.no_grad():
        h, code = 1e-5, model.posterior(x).mean
        columns = []
        for unit in torch.eye(Q, dtype=F64):
            up, down = (model.decode(code + s * h * unit).mean for s in (1, -1))
            columns.append((up - down) / (2 * h))
        exact = torch.stack(columns, -1).square().sum((1, 2))
    close(jacobian_norm(t, given(directions)).mean(0), exact, rel=1e-7)
    losses, t = RAE(beta=0.3, weight=2.0, penalty="gradient", samples=D)(model, x, noise=given(directions), step=0)
    close(losses["model"], -t.log_px[0] + 0.15 * code.square().sum(1) + exact, rel=1e-7)


def test_the_gradient_penalty_is_differentiable() -> None:
    """A linear decoder's penalty is |W|²/2 for every row; its gradient is W."""
    model, x = problem()
    model = point(model)
    directions = (math.sqrt(D) * torch.eye(D, dtype=F64))[:, None].expand(D, B, D)
    penalty = jacobian_norm(model.terms(x, samples=D), given(directions)).mean(0)
    W = model.likelihood.network.map.weight
    close(penalty, W.square().sum().expand(B))
    close(torch.autograd.grad(penalty[0] / 2, W)[0], W)


def test_the_gradient_penalty_refuses_categories() -> None:
    network = MLP(Q, likelihoods.Categorical.outputs((D,), categories=4))
    likelihood = likelihoods.Categorical(network, (D,), categories=4)
    model = VAE(prior=priors.Gaussian(Q), posterior=posteriors.Point(Linear(D, Q), Q), likelihood=likelihood)
    assert isinstance(model.decode(torch.zeros(1, Q)).base_dist, Categorical)
    with pytest.raises(UsageError, match="penalty 'gradient' needs a likelihood with a mean"):
        RAE(penalty="gradient")(model, torch.zeros(B, D), noise=noise(), step=0)


def test_impossible_arguments_are_refused() -> None:
    for make in (
        lambda: MMD(kernel="cubic"),
        lambda: MMD(scale=0.0),
        lambda: SlicedWasserstein(projections=0),
        lambda: DIP("iii"),
        lambda: Capacity(capacity=-1.0),
        lambda: RAE(penalty="spectral"),
    ):
        with pytest.raises(UsageError, match=r"is .*, expected"):
            make()
