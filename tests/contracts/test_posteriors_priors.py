"""What every posterior and every prior owes: draws from given noise, moments, gradients, bounded scales, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from oracles import F64, assign, close, noise, rows, within
from vaelab import likelihoods, posteriors, priors
from vaelab.conditional import bounded
from vaelab.distributions import draw, has_density
from vaelab.errors import UsageError
from vaelab.evaluation import evaluate_model, evidence_rows, mutual_information
from vaelab.models import VAE
from vaelab.networks import MLP, Linear
from vaelab.noise import Given
from vaelab.objectives import ELBO, IWAE, Reconstruction, elbo, iwae
from vaelab.training import validation_bound

K, B, X, D = 2, 5, 7, 3

# name -> (class, arguments besides network and latent_dim). A new posterior is one line.
POSTERIORS = {
    "gaussian, network": (posteriors.Gaussian, {"scale": "network"}),
    "gaussian, constant": (posteriors.Gaussian, {"scale": "constant"}),
    "full, network": (posteriors.FullGaussian, {"scale": "network"}),
    "full, constant": (posteriors.FullGaussian, {"scale": "constant"}),
    "point": (posteriors.Point, {}),
    "nearest": (posteriors.Nearest, {"codes": 11}),
    "nearest, parameters": (posteriors.Nearest, {"codes": 11, "ema": 0}),
    "residual": (posteriors.ResidualNearest, {"codes": 11}),
    "residual, parameters": (posteriors.ResidualNearest, {"codes": 11, "depth": 1, "ema": 0}),
    "von mises-fisher": (posteriors.VonMisesFisher, {}),
    "wrapped normal": (posteriors.WrappedNormal, {"curvature": 0.6}),
    "concrete": (posteriors.Concrete, {}),
    "planar flow": (posteriors.Flow, {"kind": "planar", "transforms": 2}),
    "planar flow, constant": (posteriors.Flow, {"kind": "planar", "transforms": 2, "amortized": False}),
    "radial flow": (posteriors.Flow, {"kind": "radial", "transforms": 2}),
    "radial flow, constant": (posteriors.Flow, {"kind": "radial", "transforms": 2, "amortized": False}),
    "iaf": (posteriors.Flow, {"kind": "iaf", "transforms": 2, "hidden": 5}),
    "iaf, constant": (posteriors.Flow, {"kind": "iaf", "transforms": 2, "hidden": 5, "amortized": False}),
    "spline flow": (posteriors.Flow, {"kind": "spline", "transforms": 1, "hidden": 3}),
}
WITH_DENSITY = [name for name in POSTERIORS if name != "point"]
PATHWISE = [
    name for name in POSTERIORS if not name.startswith(("nearest", "residual"))
]  # straight through is no derivative
GAUSSIAN = [name for name in WITH_DENSITY if name.startswith(("gaussian", "full"))]


def build(name: str, network: Callable[[int], nn.Module] | None = None) -> posteriors.Amortized:
    family, arguments = POSTERIORS[name]
    outputs = family.outputs(D, **arguments)
    part = family(network(outputs) if network else MLP(X, outputs, (11,), "tanh"), D, **arguments).double()
    for parameter_name, parameter in part.named_parameters():
        if parameter_name in ("log_scale", "factor"):
            assign(parameter, np.random.default_rng(4).normal(size=parameter.shape))
    return part


class Constant(nn.Module):
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.value.expand(len(x), -1)


def test_the_tables_name_every_part() -> None:
    every = {getattr(posteriors, n) for n in posteriors.__all__} - {posteriors.Amortized}
    assert {row[0] for row in POSTERIORS.values()} == every


@pytest.mark.parametrize("name", POSTERIORS)
def test_shapes_and_independence_of_rows(name: str) -> None:
    x = torch.randn(B, X, dtype=F64)
    part = build(name)
    q = part(x)
    assert q.batch_shape == (B,)
    assert q.event_shape == (D,)
    assert draw(q, K, noise()).shape == (K, B, D)
    assert has_density(q) == (name != "point")
    for b in range(B):
        close(part(x[b : b + 1]).mean[0], q.mean[b])
        close(part(x[b : b + 1]).variance[0], q.variance[b])


def test_gaussian_is_what_the_network_says() -> None:
    x, eps = torch.randn(B, X, dtype=F64), torch.randn(K, B, D, dtype=F64)
    part = build("gaussian, network")
    out = part.network(x)
    sigma = torch.exp(torch.atan(out[:, D:] * math.pi / 20) * 20 / math.pi)
    close(draw(part(x), K, Given([eps])), out[:, :D] + sigma * eps)
    z = torch.randn(B, D, dtype=F64)
    log = stats.norm(out[:, :D].detach().numpy(), sigma.detach().numpy()).logpdf(z.numpy()).sum(1)
    close(part(x).log_prob(z), log)


def test_full_gaussian_is_what_the_network_says() -> None:
    """The covariance is L L', L filled row by row below an exponential diagonal."""
    x, eps = torch.randn(B, X, dtype=F64), torch.randn(K, B, D, dtype=F64)
    part = build("full, network")
    out = part.network(x).detach().numpy()
    z = draw(part(x), K, Given([eps]))
    q = part(x)
    for b in range(B):
        L = np.zeros((D, D))
        raw = out[b, D : 2 * D]
        L[np.diag_indices(D)] = np.exp(np.arctan(raw * math.pi / 20) * 20 / math.pi)
        L[1, 0], L[2, 0], L[2, 1] = out[b, 2 * D :]
        close(q.covariance_matrix[b], L @ L.T)
        close(z[:, b], out[b, :D] + eps[:, b].numpy() @ L.T)
        close(q.log_prob(z)[:, b], stats.multivariate_normal(out[b, :D], L @ L.T).logpdf(z[:, b].detach().numpy()))


@pytest.mark.parametrize("name", GAUSSIAN)
def test_moments_and_density_of_the_draws(name: str) -> None:
    q = build(name)(torch.randn(B, X, dtype=F64))
    z = draw(q, 20_011, noise(6)).detach()
    centred = (z - q.mean.detach()).numpy()
    S = q.covariance_matrix if name.startswith("full") else torch.diag_embed(q.variance)
    within(centred, np.zeros((B, D)))
    within(centred[..., :, None] * centred[..., None, :], S)
    log_det = np.linalg.slogdet(S.detach().numpy())[1]
    within(-q.log_prob(z), 0.5 * log_det + D / 2 * (1 + np.log(2 * np.pi)))  # the entropy


@pytest.mark.parametrize("name", PATHWISE)
def test_finite_differences_at_given_noise(name: str) -> None:
    x, eps = torch.randn(B, X, dtype=F64), torch.randn(K, B, D, dtype=F64)
    part = build(name, lambda out: Linear(X, out))
    names, values = zip(*part.named_parameters())
    others = {"von mises-fisher": [torch.rand(K, B, dtype=F64), eps], "concrete": [torch.rand(K, B, D, dtype=F64)]}
    numbers = others.get(name, [eps])

    def f(*parameters: Tensor) -> tuple[Tensor, ...]:
        q = torch.func.functional_call(part, dict(zip(names, parameters)), (x,))
        z = draw(q, K, Given(numbers))
        return (z, q.log_prob(z)) if has_density(q) else (z,)

    assert torch.autograd.gradcheck(f, values)


@pytest.mark.parametrize("name", GAUSSIAN)
@pytest.mark.parametrize("raw", [1e6, -1e6, 0.0])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_scales_stay_finite_and_alive(name: str, raw: float, dtype: torch.dtype) -> None:
    if "network" in name:
        size = POSTERIORS[name][0].outputs(D, **POSTERIORS[name][1])
        value = torch.zeros(size, dtype=F64)
        value[D : 2 * D] = raw
        part = build(name, lambda out: Constant(value)).to(dtype)
        parameter, place = part.network.value, slice(D, 2 * D)
    else:
        part = build(name)
        parameter, place = next(p for n, p in part.named_parameters() if n in ("log_scale", "factor")), slice(0, D)
        with torch.no_grad():
            parameter.zero_()
            parameter[place] = raw
        part = part.to(dtype)
    q = part(torch.zeros(B, X, dtype=dtype))
    assert torch.isfinite(q.stddev).all()
    assert (q.stddev > 0).all()
    (slope,) = torch.autograd.grad(q.stddev.sum(), parameter)
    assert (slope[place] > 0).all()
    assert torch.isfinite(q.log_prob(draw(q, K, noise()))).all()


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_bounded_is_the_formula_with_its_derivative(dtype: torch.dtype) -> None:
    raw = torch.tensor([0, 1e-6, -1, 3, -9.99, 10, 10.01, 100, -1e3, 1e5, 1e6, -1e6], dtype=dtype, requires_grad=True)
    y = bounded(raw)
    exact = raw.detach().double().numpy()
    np.testing.assert_allclose(
        y.detach().double(), np.arctan(exact * math.pi / 20) * 20 / math.pi, rtol=3e-7 if dtype != F64 else 1e-14
    )
    (slope,) = torch.autograd.grad(y.sum(), raw)
    np.testing.assert_allclose(
        slope.double(), 1 / (1 + (exact * math.pi / 20) ** 2), rtol=1e-6 if dtype != F64 else 1e-14
    )


@pytest.mark.parametrize("name", POSTERIORS)
def test_a_network_of_the_wrong_size_is_refused_with_both(name: str) -> None:
    part = build(name, lambda out: Linear(X, 13))
    with pytest.raises(UsageError) as refused:
        part(torch.zeros(B, X, dtype=F64))
    assert str((B, 13)) in str(refused.value)
    assert str((B, POSTERIORS[name][0].outputs(D, **POSTERIORS[name][1]))) in str(refused.value)


@pytest.mark.parametrize("family", [posteriors.Gaussian, posteriors.FullGaussian])
def test_impossible_arguments_are_refused(family: type) -> None:
    with pytest.raises(UsageError, match="scale"):
        family(Linear(X, 2), 1, scale="shared")
    with pytest.raises(UsageError, match="latent_dim"):
        family(Linear(X, 2), 0)


# ---- a point mass has no density: what needs one says so


def autoencoder() -> VAE:
    likelihood = likelihoods.Bernoulli(Linear(D, X), (X,))
    return VAE(prior=priors.Gaussian(D), posterior=build("point"), likelihood=likelihood).double()


def test_a_point_mass_refuses_by_name() -> None:
    model, x = autoencoder(), torch.ones(B, X, dtype=F64)
    terms = model.terms(x, samples=K, noise=noise())
    close(terms.z[0], model.posterior.network(x))
    close(terms.z[1], terms.z[0])
    assert terms.log_qz is None
    assert terms.kl == {}
    for read in (
        lambda: terms.log_w,
        lambda: terms.kl_total,
        lambda: elbo(terms),
        lambda: iwae(terms),
        lambda: ELBO()(model, x, noise=noise(), step=0),
        lambda: IWAE(3)(model, x, noise=noise(), step=0),
    ):
        with pytest.raises(UsageError, match="PointMass, which has no density"):
            read()
    with pytest.raises(NotImplementedError, match="PointMass"):
        terms.q.log_prob(x[:, :D])


def test_figures_of_a_point_mass_are_the_reconstruction_or_none() -> None:
    model, x = autoencoder(), (torch.rand(B, X) < 0.4).to(F64)
    some = rows(x, values="binary", low=0, high=1)
    logits = model.likelihood.network(model.posterior.network(x)).detach().numpy()
    exact = stats.bernoulli(1 / (1 + np.exp(-logits))).logpmf(x.numpy()).sum(1)
    losses, _ = Reconstruction()(model, x, noise=noise(), step=0)
    close(losses["model"], -exact)
    values = evidence_rows(model, some, samples=3)
    close(values.reconstruction, exact)
    assert values.evidence is None
    assert values.kl is None
    assert mutual_information(model, some) is None
    bound, elbo, reconstruction, kl = validation_bound(model, some)
    assert bound == elbo == pytest.approx(exact.mean(), rel=1e-10) == reconstruction
    assert kl == 0
    result = evaluate_model(model, some, samples=3)
    assert result.elbo is result.kl is result.log_evidence is result.bits_per_dimension is None
    assert "no bound" in result.json()["reason"]


# ---- priors


@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1.0), (-1.3, 0.4)])
def test_the_gaussian_prior(loc: float, scale: float) -> None:
    p = priors.Gaussian(D, loc, scale).double()()
    z = torch.randn(K, B, D, dtype=F64)
    assert p.batch_shape == ()
    assert p.event_shape == (D,)
    close(p.log_prob(z), stats.norm(loc, scale).logpdf(z.numpy()).sum(-1))
    eps = torch.randn(K, D, dtype=F64)
    close(draw(p, K, Given([eps])), loc + scale * eps)
    assert priors.Gaussian(D)().mean.dtype == torch.float32


def test_the_conditioned_prior() -> None:
    """A mean and deviations for each row, by an affine map of the condition; N(0, I) before it has learned."""
    p, c = priors.Conditioned(D, 2).double(), torch.randn(B, 2, dtype=F64)
    z = torch.randn(K, B, D, dtype=F64)
    close(p(c).log_prob(z), stats.norm().logpdf(z.numpy()).sum(-1))
    out = np.random.default_rng(2).normal(size=(2 * D, 2))
    assign(p.map.weight, out)
    loc, raw = np.split(c.numpy() @ out.T, 2, axis=1)
    sigma = np.exp(np.arctan(raw * math.pi / 20) * 20 / math.pi)
    close(p(c).log_prob(z), stats.norm(loc, sigma).logpdf(z.numpy()).sum(-1))
    with pytest.raises(UsageError, match="must be given its condition"):
        p()
    with pytest.raises(UsageError, match="got 3 and 0"):
        priors.Conditioned(D, 0)


@pytest.mark.parametrize("arguments", [(0,), (2, 0.0, 0.0), (2, 0.0, -1.0), (2, 0.0, float("nan"))])
def test_impossible_priors_are_refused(arguments: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="latent_dim >= 1 and scale > 0"):
        priors.Gaussian(*arguments)
