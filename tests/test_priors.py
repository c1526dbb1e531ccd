"""Priors against exact answers: densities by hand and by quadrature, exact evidence, draws by their density."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from scipy.special import logsumexp
from torch import nn

from linear_posteriors import TRUTH, D, Q, linear_model
from oracles import F64, Array, assign, close, given, hermite, noise, tensor, unbounded, within
from vaelab import files, likelihoods, posteriors, priors
from vaelab.distributions import closed_form_kl, draw
from vaelab.errors import UsageError
from vaelab.models import VAE
from vaelab.networks import MLP, Linear
from vaelab.noise import Given
from vaelab.parts import registry

WEIGHT = np.array([0.2, 0.5, 0.3])
K, B, X = 3, 5, 7


def mixture(dims: int, covariance: str = "diagonal") -> tuple[priors.Mixture, list[stats._multivariate.Any]]:
    """A mixture of three Gaussians, and its components by scipy."""
    rng = np.random.default_rng(2)
    loc, sd = 1.5 * rng.normal(size=(3, dims)), np.exp(0.4 * rng.normal(size=(3, dims)))
    part = priors.Mixture(dims, 3, covariance).double()
    assign(part.logits, np.log(WEIGHT) + 0.7)
    assign(part.loc, loc)
    assign(part.log_scale, unbounded(np.log(sd)))
    lower = np.stack([np.diag(s) for s in sd])
    if covariance == "full":
        below = rng.normal(size=(3, dims * (dims - 1) // 2))
        assign(part.below, below)
        for L, entries in zip(lower, below):
            L[np.tril_indices(dims, -1)] = entries
    return part, [stats.multivariate_normal(m, L @ L.T) for m, L in zip(loc, lower)]


def log_mixture(components: list[stats._multivariate.Any], z: Array) -> Array:
    return logsumexp([np.log(w) + c.logpdf(z) for w, c in zip(WEIGHT, components)], axis=0)


# ---- mixtures of Gaussians


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_a_mixture_is_the_sum_of_its_components(covariance: str) -> None:
    part, components = mixture(3, covariance)
    z = 2 * torch.randn(K, B, 3, dtype=F64)
    close(part().log_prob(z), log_mixture(components, z.numpy()))
    mean = sum(w * c.mean for w, c in zip(WEIGHT, components))
    second = sum(w * (c.cov + np.outer(c.mean, c.mean)) for w, c in zip(WEIGHT, components))
    close(part().mean, mean)
    close(part().variance, np.diag(second - np.outer(mean, mean)))
    draws = draw(part(), 20_011, noise(1)).detach().numpy()
    within(draws[:, :, None] * draws[:, None, :], second)


def test_many_points_are_taken_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    part, _ = mixture(2)
    z = torch.randn(K, 101, 2, dtype=F64)
    whole = part().log_prob(z)
    monkeypatch.setattr("vaelab.distributions.mixture.NUMBERS", 50)
    close(part().log_prob(z), whole)


def test_a_draw_picks_its_component_by_the_uniform_noise() -> None:
    part, components = mixture(2, "full")
    u, eps = np.array([[0.1, 0.69, 0.71], [0.999, 0.19, 0.21]]), np.random.default_rng(0).normal(size=(2, 3, 2))
    z = draw(part().expand(torch.Size([3])), 2, given(u, eps))
    picked = [[0, 1, 2], [2, 0, 1]]
    for i, j in np.ndindex(2, 3):
        c = components[picked[i][j]]
        close(z[i, j], c.mean + np.linalg.cholesky(c.cov) @ eps[i, j])


def test_draws_in_one_dimension_have_the_distribution_function() -> None:
    part, components = mixture(1)
    z = draw(part(), 20_011, noise(4)).detach().numpy()[:, 0]

    def cdf(t: Array) -> Array:
        return sum(w * stats.norm(c.mean[0], math.sqrt(c.cov[0, 0])).cdf(t) for w, c in zip(WEIGHT, components))

    assert stats.kstest(z, cdf).pvalue > 5.7e-7  # five standard errors


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_the_evidence_of_a_linear_model_is_a_mixture_of_gaussians(covariance: str) -> None:
    """p(x) = sum_c w_c N(x; W mu_c + m, W S_c W' + s2 I); E_q[w] by a Gauss-Hermite rule."""
    part, components = mixture(Q, covariance)
    model = linear_model(posteriors.Gaussian, wide=2.5)
    model = VAE(prior=part, posterior=model.posterior, likelihood=model.likelihood)
    x = TRUTH.sample(B, seed=3)
    W, noise_of_x = TRUTH.W, TRUTH.s2 * np.eye(D)
    seen = [stats.multivariate_normal(W @ c.mean + TRUTH.m, W @ c.cov @ W.T + noise_of_x) for c in components]
    exact = log_mixture(seen, x)
    nodes, log_w = hermite(90, Q)
    terms = model.terms(tensor(x), samples=len(nodes), noise=Given([tensor(nodes).unsqueeze(1).expand(-1, B, -1)]))
    close((terms.log_w + tensor(log_w)[:, None]).logsumexp(0), exact, rel=1e-7)


def test_the_kl_to_a_mixture_is_sampled_and_its_expectation_is_the_integral() -> None:
    part, components = mixture(1)
    loc, sd = 0.4, 0.8
    q_network = Linear(X, 2).double()
    assign(q_network.map.weight, np.zeros((2, X)))
    assign(q_network.map.bias, np.array([loc, unbounded(math.log(sd))]))
    likelihood = likelihoods.Bernoulli(Linear(1, X), (X,)).double()
    model = VAE(prior=part, posterior=posteriors.Gaussian(q_network, 1), likelihood=likelihood)
    q = stats.norm(loc, sd)
    exact, _ = integrate.quad(
        lambda z: q.pdf(z) * (q.logpdf(z) - log_mixture(components, np.array([z]))), -12, 12, epsabs=1e-12, limit=200
    )
    nodes, log_w = hermite(80, 1)
    terms = model.terms(torch.zeros(1, X, dtype=F64), samples=len(nodes), noise=Given([tensor(nodes).unsqueeze(1)]))
    assert closed_form_kl(terms.q, terms.p) is None
    close((terms.kl["z"][:, 0, 0] * tensor(log_w).exp()).sum(), exact, rel=1e-6)
    drawn = model.terms(torch.zeros(1, X, dtype=F64), samples=20_011, noise=noise(2))
    within(drawn.kl["z"][:, 0, 0], exact)


# ---- the mixture of posteriors


def vamp_model(
    components: int = 4, learned: bool = False, family: type[posteriors.Amortized] = posteriors.Gaussian
) -> VAE:
    q = family(MLP(X, family.outputs(2), (11,), "tanh"), 2)
    return VAE(
        prior=priors.Vamp(q, (X,), components, learned),
        posterior=q,
        likelihood=likelihoods.Bernoulli(Linear(2, X), (X,)),
    ).double()


@pytest.mark.parametrize("family", [posteriors.Gaussian, posteriors.FullGaussian])
def test_vamp_at_the_data_is_the_aggregated_posterior(family: type[posteriors.Amortized]) -> None:
    """log p(z) = log 1/N sum_n q(z | x_n), by scipy from the moments of each q."""
    model, x = vamp_model(B, family=family), torch.rand(B, X, dtype=F64)
    model.prior.start(x, B)
    assert torch.equal(model.prior.inputs, x)
    q, z = model.posterior(x), torch.randn(K, 2, 2, dtype=F64)
    S = (q.covariance_matrix if family is posteriors.FullGaussian else torch.diag_embed(q.variance)).detach().numpy()
    each = [stats.multivariate_normal(m, s).logpdf(z.numpy()) for m, s in zip(q.mean.detach().numpy(), S)]
    close(model.prior().log_prob(z), logsumexp(each, axis=0) - math.log(B))
    # the bound's KL, averaged over rows, is the mutual information there: 0 <= I <= log N
    terms = model.terms(x, samples=2_003, noise=noise(1))
    assert 0 < terms.kl_total.mean() < math.log(B)


def test_learned_weights_of_a_vamp_prior() -> None:
    model = vamp_model(3, learned=True)
    assign(model.prior.logits, np.log(WEIGHT) - 2.0)
    z = torch.randn(K, 2, dtype=F64)
    q = model.posterior(model.prior.inputs)
    each = stats.norm(q.mean.detach().numpy(), q.stddev.detach().numpy()).logpdf(z.numpy()[:, None]).sum(-1)
    close(model.prior().log_prob(z), logsumexp(each + np.log(WEIGHT), axis=1))


def test_both_sides_train_the_posterior_of_a_vamp_prior() -> None:
    model, z = vamp_model(), torch.randn(K, 2, dtype=F64)
    model.prior().log_prob(z).sum().backward()
    for parameter in (model.prior.inputs, *model.posterior.parameters()):
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0


def test_draws_of_a_vamp_prior_are_draws_of_the_posterior_at_its_inputs() -> None:
    model = vamp_model(3)
    u, eps = np.array([[0.9, 0.1, 0.4, 0.95, 0.05]]), np.random.default_rng(1).normal(size=(1, 5, 2))
    z = draw(model.prior().expand(torch.Size([5])), 1, given(u, eps))
    q = model.posterior(model.prior.inputs[[2, 0, 1, 2, 0]])
    close(z[0], q.mean + q.stddev * tensor(eps[0]))


def test_pseudo_inputs_start_on_data_and_stay_within_them() -> None:
    model = vamp_model(6)
    x = tensor(np.random.default_rng(0).normal(size=(4, X)) * 3 + 1)
    model.prior.start(x, 4)
    assert torch.equal(model.prior.inputs[:4], x)
    low, high = x.amin(0), x.amax(0)
    assert ((model.prior.inputs >= low) & (model.prior.inputs <= high)).all()
    assert len(model.prior.inputs.detach().unique(dim=0)) == 6
    with torch.no_grad():
        model.prior.inputs += 100 * torch.randn(6, X, dtype=F64).sign()
    model.prior.update()
    assert ((model.prior.inputs == low) | (model.prior.inputs == high)).all()


def test_training_keeps_pseudo_inputs_in_the_range_of_the_data() -> None:
    from vaelab.fitting import fit

    model = vamp_model(30).float()
    x = 3 + torch.rand(60, X)
    model.likelihood = likelihoods.Gaussian(Linear(2, X), (X,), scale=0.3)
    run = fit(model, x, epochs=20, lr=0.2, progress="off", validation=0)
    inputs = run.model.prior.inputs.detach()
    assert ((inputs >= x.amin(0)) & (inputs <= x.amax(0))).all()
    known = (inputs.unsqueeze(1) == x).all(-1).any(1)
    assert not known.all(), "no pseudo-input has moved"


def test_the_shared_posterior_is_saved_once(tmp_path: Path) -> None:
    model = vamp_model()
    files.save(tmp_path / "m", {"model": model}, {}, registry=registry())
    again = files.load(tmp_path / "m", registry=registry())[0]["model"]
    assert again.prior.posterior is again.posterior
    held = files.inspect(tmp_path / "m")
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())
    assert "shared" in str(held)


def test_what_a_vamp_prior_cannot_be_made_of_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a posterior with a density, got a PointMass"):
        vamp_model(family=posteriors.Point).prior()
    network = MLP(X, 4, (5,), condition=2)
    with pytest.raises(UsageError, match="reads a condition"):
        priors.Vamp(posteriors.Gaussian(network, 2), (X,), 3)(torch.zeros(B, 2))
    with pytest.raises(UsageError, match="components must be at least 1"):
        vamp_model(0)


# ---- flows


def flow(dims: int, kind: str) -> priors.Flow:
    part = priors.Flow(dims, transforms=2, hidden=7, kind=kind).double()
    with torch.no_grad():
        for name, parameter in part.named_parameters():
            parameter.mul_(1.5)
            if name in ("shift", "log_scale"):
                parameter.add_(torch.linspace(-0.4, 0.3, dims))
    return part


@pytest.mark.parametrize("kind", ["nsf", "maf"])
def test_a_flow_integrates_to_one(kind: str) -> None:
    # curvature jumps at the knots of a spline and of a rectifier, so a sum over cells is off by the order of their
    # squared size: 4e-5 and 2e-3 here, of which the jumps have a small share
    for dims, cells, off in ((1, 4000, 1e-5), (2, 500, 2e-4)):
        axis = 24 * ((torch.arange(cells, dtype=F64) + 0.5) / cells - 0.5)
        z = torch.cartesian_prod(*[axis] * dims).reshape(-1, dims)
        with torch.no_grad():
            mass = flow(dims, kind)().log_prob(z).exp().sum() * (24 / cells) ** dims
        assert abs(mass.item() - 1) < off


@pytest.mark.parametrize("kind", ["nsf", "maf"])
def test_the_density_of_a_flow_is_the_jacobian_of_its_draws(kind: str) -> None:
    p, e = flow(3, kind)(), torch.randn(K, 3, dtype=F64)
    z = draw(p, K, Given([e]))
    for i in range(K):
        J = torch.autograd.functional.jacobian(p.pull, e[i])
        close(p.log_prob(z[i]), stats.norm.logpdf(e[i]).sum() - torch.linalg.slogdet(J)[1], rel=1e-8)


@pytest.mark.parametrize("kind", ["nsf", "maf"])
def test_draws_of_a_flow_have_its_distribution_function(kind: str) -> None:
    p = flow(2, kind)()
    z = draw(p, 20_011, noise(9)).detach()
    axis = torch.linspace(-12, 12, 401, dtype=F64)
    with torch.no_grad():
        mass = p.log_prob(torch.cartesian_prod(axis, axis)).exp().reshape(401, 401) * 0.06**2
    for d in (0, 1):
        marginal = mass.sum(1 - d).numpy()
        cdf = marginal.cumsum() - marginal / 2
        assert stats.kstest(z[:, d].numpy(), lambda t, cdf=cdf: np.interp(t, axis.numpy(), cdf)).pvalue > 5.7e-7


def test_a_flow_with_nothing_to_do_is_the_standard_normal() -> None:
    part = priors.Flow(2, transforms=2, hidden=5, kind="maf").double()
    for made in part.networks:
        nn.init.zeros_(made.last.weight)
        nn.init.zeros_(made.last.bias)
    z = torch.randn(K, 2, dtype=F64)
    close(part().log_prob(z), stats.norm.logpdf(z).sum(-1))


# ---- the sphere


@pytest.mark.parametrize(("dims", "area"), [(2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2)])
def test_the_density_on_a_sphere_is_one_over_its_area(dims: int, area: float) -> None:
    p = priors.UniformSphere(dims).double()()
    z = draw(p.expand(torch.Size([B])), 4_001, noise(2))
    close(z.norm(dim=-1), torch.ones(4_001, B, dtype=F64))
    close(p.log_prob(z[:K]), np.full((K, B), -math.log(area)))
    flat = z.reshape(-1, dims)
    within(flat, np.zeros(dims))
    off = flat[:, :1] * flat[:, 1:]
    within(off, np.zeros(dims - 1))
    within(flat.square(), np.full(dims, 1 / dims))


def test_noise_without_a_direction_gives_a_point_of_the_sphere() -> None:
    z = draw(priors.UniformSphere(3)(), 2, noise().scaled(0.0))
    assert torch.equal(z, torch.tensor([[1.0, 0, 0]] * 2))
    with pytest.raises(UsageError, match="latent_dim must be at least 2"):
        priors.UniformSphere(1)


@pytest.mark.parametrize(
    ("family", "arguments"),
    [
        (priors.Mixture, {"components": 0}),
        (priors.Mixture, {"covariance": "round"}),
        (priors.Flow, {"transforms": 0}),
        (priors.Flow, {"hidden": 0}),
        (priors.Flow, {"kind": "planar"}),
    ],
)
def test_impossible_arguments_are_refused_by_name(family: type, arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(arguments))):
        family(2, **arguments)
