"""The von Mises-Fisher distribution against scipy, quadrature and series, and the evidence of a model on a sphere."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from oracles import F64, close, noise, rows, tensor, within
from vaelab import likelihoods, posteriors, priors
from vaelab.distributions import UniformSphere, VonMisesFisher, closed_form_kl, draw, held
from vaelab.distributions.bessel import log_bessel
from vaelab.errors import UsageError
from vaelab.evaluation import evaluate_model
from vaelab.models import VAE
from vaelab.networks import MLP, Linear
from vaelab.noise import SharedNoise, stream
from vaelab.objectives import ELBO

CONCENTRATIONS = (1e-3, 0.5, 20.0, 1e3, 1e5)


def vmf(dims: int, k: float) -> VonMisesFisher:
    mu = np.random.default_rng(dims).normal(size=dims)
    return VonMisesFisher(tensor(mu / np.linalg.norm(mu)), tensor(k))


def log_bessel_by_series(order: float, x: float) -> float:
    """log I_order(x) - x by the power series, all of whose terms are positive."""
    j = np.arange(0, int(3 * x) + 200)
    terms = (2 * j + order) * math.log(x / 2) - special.gammaln(j + 1) - special.gammaln(j + order + 1)
    return float(special.logsumexp(terms)) - x


@pytest.mark.parametrize("dims", [2, 3, 4, 5, 10, 51, 100, 257, 500])
def test_bessel_functions_of_every_order_and_argument(dims: int) -> None:
    order = dims / 2 - 1
    x = np.logspace(-3, 5, 33)
    value, ratio = (v.numpy() for v in log_bessel(order, tensor(x)))
    for i, at in enumerate(x):
        scaled, above = special.ive([order, order + 1], at)
        if scaled > 1e-280:
            assert abs(value[i] - math.log(scaled)) < 1e-10
        if above > 1e-280:
            assert abs(ratio[i] / (above / scaled) - 1) < 1e-10
        if at < 1e3:
            assert value[i] == pytest.approx(log_bessel_by_series(order, at), rel=1e-12, abs=1e-10)
    # d/dx [log I(x) - x] = I'(x) / I(x) - 1 = ratio + order / x - 1
    z = tensor(x).requires_grad_()
    (slope,) = torch.autograd.grad(log_bessel(order, z)[0].sum(), z)
    np.testing.assert_allclose(slope, ratio + order / x - 1, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("k", CONCENTRATIONS)
@pytest.mark.parametrize("dims", [2, 3, 7, 50, 500])
def test_density_is_that_of_scipy(dims: int, k: float) -> None:
    q = vmf(dims, k)
    z = stats.vonmises_fisher(q.loc.numpy(), min(k, 1e4)).rvs(11, random_state=np.random.default_rng(3))
    z = np.concatenate([z, q.loc.numpy()[None], -q.loc.numpy()[None]])
    if special.ive(dims / 2 - 1, k) > 1e-280:
        close(q.log_prob(tensor(z)), stats.vonmises_fisher(q.loc.numpy(), k).logpdf(z), rel=1e-10, floor=1e-8)
    assert torch.isfinite(VonMisesFisher(q.loc.float(), q.concentration.float()).log_prob(tensor(z).float())).all()


@pytest.mark.parametrize("k", [1e-3, 0.7, 9.0, 300.0])
def test_density_and_kl_by_quadrature_in_two_and_three_dimensions(k: float) -> None:
    angle = np.linspace(0, 2 * math.pi, 20_001)[:-1]
    circle = tensor(np.stack([np.cos(angle), np.sin(angle)], 1))
    q = vmf(2, k)
    log_q = q.log_prob(circle).numpy()
    cell = 2 * math.pi / 20_000
    close((np.exp(log_q) * cell).sum(), 1.0)
    kl = closed_form_kl(VonMisesFisher(q.loc[None], q.concentration[None]), UniformSphere(2, q.loc))
    close(kl, [[(np.exp(log_q) * (log_q + math.log(2 * math.pi)) * cell).sum()]], rel=1e-9)
    # on the sphere the height t is uniform, so the density of t is k exp(k t) / (2 sinh k)
    t, weight = np.polynomial.legendre.leggauss(400)
    q = vmf(3, k)
    across = np.linalg.svd(q.loc.numpy()[None])[2][1]
    log_q = q.log_prob(tensor(t[:, None] * q.loc.numpy() + np.sqrt(1 - t**2)[:, None] * across)).numpy()
    close((2 * math.pi * weight * np.exp(log_q)).sum(), 1.0, rel=1e-9)
    kl = closed_form_kl(VonMisesFisher(q.loc[None], q.concentration[None]), UniformSphere(3, q.loc))
    close(kl, [[(2 * math.pi * weight * np.exp(log_q) * (log_q + math.log(4 * math.pi))).sum()]], rel=1e-8)


@pytest.mark.parametrize("k", CONCENTRATIONS)
@pytest.mark.parametrize("dims", [2, 3, 5, 40])
def test_draws_have_the_law(dims: int, k: float) -> None:
    """The angle's distribution function by quadrature of its own (Kolmogorov-Smirnov), moments, length one."""
    n = 20_011
    q = vmf(dims, k)
    z = draw(VonMisesFisher(q.loc.expand(1, -1), q.concentration.expand(1)), n, noise(4))[:, 0]
    close(z.norm(dim=-1), np.ones(n))
    within(z, q.mean)
    within((z - q.mean) ** 2, q.variance)
    angle = 2 * np.arcsin(np.clip((z - q.loc).norm(dim=-1).numpy() / 2, 0, 1))
    grid = np.linspace(0, min(math.pi, angle.max() * 1.2), 200_001)
    with np.errstate(divide="ignore"):
        log_f = k * (np.cos(grid) - 1) + ((dims - 2) * np.log(np.sin(grid).clip(0)) if dims > 2 else 0)
    cdf = np.concatenate([[0], np.cumsum(np.exp(log_f - log_f.max())[:-1])])
    if grid[-1] < math.pi:  # the tail that is cut off holds less than the test can see
        assert log_f[-1] < log_f.max() - 5
    distance = stats.ks_1samp(angle, lambda a: np.interp(a, grid, cdf / cdf[-1])).pvalue
    assert distance > 5.7e-7  # five standard errors


def test_moments_of_the_draw_are_those_of_the_density() -> None:
    """Mean and variance against quadrature on the circle."""
    q = vmf(2, 1.7)
    angle = np.linspace(0, 2 * math.pi, 2001)[:-1]
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    mass = np.exp(q.log_prob(tensor(circle)).numpy()) * math.pi / 1000
    mean = mass @ circle
    close(q.mean, mean)
    close(q.variance, mass @ (circle - mean) ** 2)


@pytest.mark.parametrize("dims", [2, 3, 4, 30])
def test_gradient_of_the_angle_is_that_of_the_law(dims: int) -> None:
    """d/dk E[cos a] = A'(k) = 1 - A² - (D - 1) A / k, by the pathwise gradient at evenly spaced uniforms."""
    k = tensor([0.3, 4.0, 80.0, 2e4]).requires_grad_()
    u = ((torch.arange(4000, dtype=F64) + 0.5) / 4000)[:, None].expand(-1, 4)
    mu = torch.eye(dims, dtype=F64)[0].expand(4, -1)
    cosine = VonMisesFisher(mu, k).angle(u).cos().mean(0)
    A = log_bessel(dims / 2 - 1, k)[1].detach()
    # a midpoint rule in u: its ends, where the angle runs away, cost some 1e-4 of the spread
    close(1 - cosine, 1 - A, rel=1e-3)
    (slope,) = torch.autograd.grad(cosine.sum(), k)
    exact = 1 - A**2 - (dims - 1) * A / k.detach()
    assert ((slope - exact).abs() < 3e-3 * exact.abs() + 1e-9).all(), (slope, exact)


def model(dims: int) -> VAE:
    return VAE(
        prior=priors.UniformSphere(dims),
        posterior=posteriors.VonMisesFisher(MLP(5, dims + 1, (11,), "tanh"), dims),
        likelihood=likelihoods.Gaussian(MLP(dims, 5, (11,), "tanh"), (5,), scale=0.8),
    ).double()


def on_the_sphere(dims: int) -> tuple[Tensor, Tensor]:
    """Points and log-weights of a rule that integrates smooth functions over the circle or the sphere."""
    angle = torch.arange(400, dtype=F64) * 2 * math.pi / 400
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    if dims == 2:
        return circle, torch.full((400,), math.log(2 * math.pi / 400), dtype=F64)
    t, weight = (tensor(v) for v in np.polynomial.legendre.leggauss(100))
    points = torch.cat([(1 - t * t).sqrt()[:, None, None] * circle, t[:, None, None].expand(-1, 400, 1)], -1)
    return points.reshape(-1, 3), (weight * 2 * math.pi / 400).log().repeat_interleave(400)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_weights_average_to_the_evidence(dims: int) -> None:
    m, x = model(dims), torch.randn(3, 5, dtype=F64)
    with torch.no_grad():
        z, log_weight = on_the_sphere(dims)
        z = z[:, None].expand(-1, 3, -1)
        log_joint = m.decode(z).log_prob(x) + m.prior().log_prob(z)
        evidence = (log_joint + log_weight[:, None]).logsumexp(0)
        terms = m.terms(x, samples=20_011, noise=noise(2))
        within((terms.log_w - evidence).exp(), np.ones(3))
        within(terms.log_qz - terms.log_pz, terms.kl["z"][0, :, 0])


def test_shared_noise_types_held_and_refusals() -> None:
    m, x = model(3), torch.randn(5, 5, dtype=F64)
    q = m.posterior(x)
    z = draw(q, 7, SharedNoise(stream(0, "t")))
    close(draw(m.posterior(x[2:3]), 7, SharedNoise(stream(0, "t")))[:, 0], z[:, 2])
    close(held(q).log_prob(z), q.log_prob(z))
    assert not held(q).log_prob(z.detach()).requires_grad
    small = m.float()
    terms = small.terms(x.float(), samples=2, noise=noise())
    assert terms.log_w.dtype == torch.float32
    losses, _ = ELBO()(small, x.float(), noise=noise(), step=0)
    losses["model"].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in small.parameters())
    mixed = VAE(prior=priors.Gaussian(3), posterior=m.posterior, likelihood=m.likelihood).double()
    with pytest.raises(UsageError, match="their densities are of different kinds"):
        ELBO()(mixed, x, noise=noise(), step=0)
    assert evaluate_model(mixed, rows(x), samples=2).elbo is None
    with pytest.raises(UsageError, match="latent_dim must be at least 2"):
        posteriors.VonMisesFisher(Linear(5, 2), 1)


@pytest.mark.parametrize("raw", [-1e6, 0.0, 1e6])
def test_concentrations_stay_within_their_bounds(raw: float) -> None:
    part = posteriors.VonMisesFisher(Linear(1, 4), 3)
    with torch.no_grad():
        part.network.map.weight.zero_()
        part.network.map.bias.copy_(torch.tensor([1.0, 2.0, 2.0, raw]))
    q = part(torch.zeros(1, 1))
    assert 0.9e-3 < q.concentration.item() < 1.1e5
    assert raw != 0 or 1 < q.concentration.item() < 10
    z = draw(q, 5, noise())
    assert torch.isfinite(q.log_prob(z)).all()
    assert torch.isfinite(torch.autograd.grad(z.sum() + q.log_prob(z).sum(), part.network.map.bias)[0]).all()
