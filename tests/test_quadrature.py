"""Non-linear decoders with one or two latents: bound, evidence and gap against integrals on a grid."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from oracles import F64, Quadrature, close, given, hermite, noise, rows, tensor
from vaelab import likelihoods, posteriors, priors
from vaelab.errors import UsageError
from vaelab.evaluation import annealed_rows, evidence_rows, quadrature
from vaelab.models import VAE
from vaelab.networks import MLP
from vaelab.objectives import elbo, iwae

B, X = 7, 5
CASES = [(dim, family) for dim in (1, 2) for family in ("bernoulli", "gaussian", "fixed")]
NODES = {1: 120, 2: 48}


@cache
def problem(dim: int, family: str) -> tuple[VAE, np.ndarray, Quadrature]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(dim)
        encoder = MLP(X, 2 * dim, (11,), "tanh")
        decoder = MLP(dim, X, (13,), "tanh")
        likelihood = {
            "bernoulli": lambda: likelihoods.Bernoulli(decoder, (X,)),
            "gaussian": lambda: likelihoods.Gaussian(decoder, (X,), scale="shared"),
            "fixed": lambda: likelihoods.Gaussian(decoder, (X,), scale=0.6),
        }[family]()
        model = VAE(
            prior=priors.Gaussian(dim), posterior=posteriors.Gaussian(encoder, dim), likelihood=likelihood
        ).double()
        with torch.no_grad():
            for layer in (decoder.layers[0], decoder.layers[-1]):
                layer.weight *= 1.6  # far from linear
            encoder.layers[-1].weight *= 0.5
            encoder.layers[-1].bias[dim:] += (-0.3, 0.2)[dim - 1]
            if family == "gaussian":
                likelihood.log_scale.fill_(-0.7)
            x = model.generate(B, noise=noise(dim)).numpy()
    return model, x, Quadrature(model, x)


def at_nodes(dim: int, family: str):
    """The model's own terms at the nodes of a Gauss-Hermite rule, with its weights."""
    model, x, _ = problem(dim, family)
    nodes, log_weight = hermite(NODES[dim], dim)
    terms = model.terms(tensor(x), samples=len(nodes), noise=given(np.repeat(nodes[:, None], B, 1)))
    terms.log_weight = tensor(np.repeat(log_weight[:, None], B, 1))
    return terms


@pytest.mark.parametrize(("dim", "family"), CASES)
def test_the_grid_is_fine_enough(dim: int, family: str) -> None:
    model, x, exact = problem(dim, family)
    coarse = Quadrature(model, x, points={1: 2001, 2: 201}[dim])
    close(coarse.log_px, exact.log_px, rel=1e-10)
    close(coarse.elbo, exact.elbo, rel=1e-8)
    close(np.exp(exact.log_posterior + exact.log_cell).sum(1), np.ones(B))


@pytest.mark.parametrize(("dim", "family"), CASES)
def test_the_bound_lies_below_and_the_gap_is_the_kl_to_the_posterior(dim: int, family: str) -> None:
    _, _, exact = problem(dim, family)
    terms = at_nodes(dim, family)
    bound = elbo(terms).detach().numpy()
    assert (bound <= exact.log_px).all()
    assert (exact.kl_to_posterior > 0.001).all()
    np.testing.assert_allclose(exact.log_px - bound, exact.kl_to_posterior, atol=1e-6)
    np.testing.assert_allclose(bound, exact.elbo, atol=1e-6)
    np.testing.assert_allclose(terms.mean(terms.log_w).detach(), exact.elbo, atol=1e-6)
    np.testing.assert_allclose(terms.mean(terms.log_px).detach(), exact.expectation(exact.log_lik(exact.z)), atol=1e-6)


@pytest.mark.parametrize(("dim", "family"), CASES)
def test_log_density_of_the_data_at_the_nodes(dim: int, family: str) -> None:
    """log p(x | z) entry by entry against the decoder in numpy, where the model put its draws."""
    model, _, exact = problem(dim, family)
    terms = model.terms(tensor(exact.x), samples=3, noise=noise(1))
    for k in range(3):
        for b in range(B):
            close(terms.log_px[k, b], exact.log_lik(terms.z[k, [b]].detach().numpy())[b, 0])


@pytest.mark.parametrize(("dim", "family"), CASES)
def test_importance_weighting_reaches_the_truth(dim: int, family: str) -> None:
    model, x, exact = problem(dim, family)
    samples = 20_011
    terms = model.terms(tensor(x), samples=samples, noise=noise(7))
    weight = np.exp(terms.log_w.detach().numpy() - exact.log_px)
    se = weight.std(0) / np.sqrt(samples)
    assert se.max() < 0.06
    assert (np.abs(np.exp(iwae(terms).detach().numpy() - exact.log_px) - 1) < 5 * se).all()
    values = evidence_rows(model, rows(x), samples=2003)
    assert (np.abs(np.exp(values.evidence.numpy() - exact.log_px) - 1) < 5 * weight.std(0) / np.sqrt(2003)).all()
    spread = terms.log_w.detach().std(0).numpy() / np.sqrt(2003)
    assert (np.abs(values.elbo.numpy() - exact.elbo) < 5 * spread).all()


def test_full_covariance_in_two_dimensions_by_quadrature() -> None:
    model, x, exact = problem(2, "bernoulli")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        encoder = MLP(X, 5, (11,), "tanh").double()
    full = VAE(prior=model.prior, posterior=posteriors.FullGaussian(encoder, 2), likelihood=model.likelihood)
    nodes, log_weight = hermite(NODES[2], 2)
    terms = full.terms(tensor(x), samples=len(nodes), noise=given(np.repeat(nodes[:, None], B, 1)))
    terms.log_weight = tensor(np.repeat(log_weight[:, None], B, 1))
    q = full.posterior(tensor(x))
    log_q = q.log_prob(torch.as_tensor(exact.z)[:, None]).T.detach().numpy()
    mass = np.exp(log_q + exact.log_cell)
    close(mass.sum(1), np.ones(B), rel=1e-8)
    kl = (mass * (log_q - exact.log_posterior)).sum(1)
    np.testing.assert_allclose(exact.log_px - elbo(terms).detach().numpy(), kl, atol=1e-6)
    assert terms.kl["z"].dtype == F64


@pytest.mark.parametrize(("dim", "family"), CASES)
def test_two_rules_of_the_package_agree_with_the_grid_in_numpy(dim: int, family: str) -> None:
    model, x, exact = problem(dim, family)
    found = quadrature(model, rows(x))
    close(found.log_px, exact.log_px, rel=1e-9)
    assert found.apart.max() < 1e-8


def test_annealing_lies_below_the_integral() -> None:
    model, x, exact = problem(1, "bernoulli")
    gap = annealed_rows(model, rows(x), temperatures=20, chains=20, leapfrog=2).lower.numpy() - exact.log_px
    assert (np.abs(gap) < 0.1).all()
    with pytest.raises(UsageError, match="the model has 3"):
        quadrature(
            VAE(
                prior=priors.Gaussian(3),
                posterior=posteriors.Gaussian(MLP(X, 6, (3,)), 3),
                likelihood=likelihoods.Bernoulli(MLP(3, X, (3,)), (X,)),
            ),
            rows(x),
        )
