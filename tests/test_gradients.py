"""Gradients: unbiased against analytic ones, exact under finite differences, zero where theory says so."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from oracles import F64, LinearGaussian, close, given, noise, tensor, within
from vaelab import likelihoods, posteriors, priors
from vaelab.models import VAE, Terms
from vaelab.networks import MLP
from vaelab.noise import Noise
from vaelab.objectives import ELBO, IWAE, BoundObjective, Reconstruction, elbo, iwae

B, D, Q = 3, 5, 2


def problem(posterior: str = "diagonal", exact: bool = False) -> tuple[VAE, np.ndarray]:
    truth = LinearGaussian.random(D, Q, seed=4).rotated()
    x = truth.sample(B, seed=1)
    V, c, S = truth.encoder()
    A = np.array([[1.3, 0.2], [0.4, 1.2]])
    encoder = (V, c, S) if exact else (0.7 * V, c + 0.4, A @ S @ A.T)
    return truth.vae(posterior, encoder=encoder), x


def analytic_elbo(model: VAE, x: Tensor, beta: float = 1.0) -> Tensor:
    """The mean over rows of the linear ELBO, written out by hand in the model's parameters."""
    W, m = model.likelihood.network.map.weight, model.likelihood.network.map.bias
    V, c = model.posterior.network.map.weight, model.posterior.network.map.bias
    squash = lambda raw: torch.atan(raw * math.pi / 20) * 20 / math.pi  # noqa: E731
    log_sigma = squash(model.likelihood.log_scale)
    mu = x @ V.T + c
    if isinstance(model.posterior, posteriors.Gaussian):
        L = torch.diag(torch.exp(squash(model.posterior.log_scale)))
    else:
        f = model.posterior.factor
        L = torch.stack([torch.stack([squash(f[0]).exp(), 0 * f[0]]), torch.stack([f[2], squash(f[1]).exp()])])
    S = L @ L.T
    error = ((x - mu @ W.T - m) ** 2).sum(1) + torch.trace(W @ S @ W.T)
    reconstruction = -D * (log_sigma + 0.5 * math.log(2 * math.pi)) - 0.5 * error * torch.exp(-2 * log_sigma)
    kl = 0.5 * (torch.trace(S) + (mu**2).sum(1) - Q) - torch.log(torch.diagonal(L)).sum()
    return (reconstruction - beta * kl).mean()


def gradients(value: Tensor, model: nn.Module, **how: bool) -> np.ndarray:
    parts = torch.autograd.grad(value, list(model.parameters()), allow_unused=True, **how)
    parts = [torch.zeros_like(p) if g is None else g for p, g in zip(model.parameters(), parts)]
    return torch.cat([g.flatten() for g in parts]).numpy()


class Sampled(BoundObjective):
    """The bound with its KL sampled: the mean of log w."""

    def bound(self, terms: Terms, step: int) -> Tensor:
        return terms.mean(terms.log_w)


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
@pytest.mark.parametrize(
    ("objective", "beta"),
    [(ELBO(samples=100), 1.0), (ELBO(beta=2.5, samples=100), 2.5), (ELBO(samples=100, gradient="stopped"), 1.0)],
    ids=["closed", "beta", "stopped"],
)
def test_the_gradient_is_unbiased(posterior: str, objective: ELBO, beta: float) -> None:
    """20,000 draws in 200 independent estimates, every encoder and decoder parameter."""
    model, x = problem(posterior)
    truth = gradients(analytic_elbo(model, tensor(x), beta), model)
    assert np.abs(truth).min() > 1e-3
    source, estimates = noise(11), []
    for step in range(200):
        losses, _ = objective(model, tensor(x), noise=source, step=step)
        estimates.append(-gradients(losses["model"].mean(), model))
    estimates = np.array(estimates)
    moving = estimates.std(0) > 1e-12
    within(estimates[:, moving], truth[moving])
    np.testing.assert_allclose(estimates[0][~moving], truth[~moving], rtol=1e-9)
    assert moving.sum() >= truth.size - Q


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_the_sampled_kl_is_unbiased_too(posterior: str) -> None:
    model, x = problem(posterior)
    truth = gradients(analytic_elbo(model, tensor(x)), model)
    objective, source = Sampled(), noise(12)
    objective.samples = 100
    estimates = np.array(
        [-gradients(objective(model, tensor(x), noise=source, step=0)[0]["model"].mean(), model) for _ in range(200)]
    )
    within(estimates, truth)


def test_an_error_of_the_size_we_look_for_would_be_found() -> None:
    """Control: the test above rejects noise scaled by 0.9 and a KL counted one and a half times."""
    model, x = problem()
    truth = gradients(analytic_elbo(model, tensor(x)), model)

    class Small(Noise):
        def normal(self, shape, like):
            return 0.9 * super().normal(shape, like)

    for source, objective in ((Small(noise(1).generator), ELBO(samples=100)), (noise(1), ELBO(beta=1.5, samples=100))):
        found = [
            -gradients(objective(model, tensor(x), noise=source, step=0)[0]["model"].mean(), model) for _ in range(200)
        ]
        with pytest.raises(AssertionError):
            within(np.array(found) + 1e-14 * np.random.default_rng(0).normal(size=(200, truth.size)), truth)


def test_at_the_exact_posterior_the_stopped_gradient_of_the_encoder_is_zero() -> None:
    model, x = problem("full", exact=True)
    for k in (1, 7):
        losses, _ = ELBO(samples=k, gradient="stopped")(model, tensor(x), noise=noise(k), step=0)
        parts = torch.autograd.grad(losses["model"].sum(), list(model.posterior.parameters()))
        assert max(g.abs().max().item() for g in parts) < 1e-10
    losses, _ = ELBO()(model, tensor(x), noise=noise(1), step=0)
    plain = torch.autograd.grad(losses["model"].sum(), list(model.posterior.parameters()))
    assert max(g.abs().max().item() for g in plain) > 0.1


def test_stopped_is_pathwise_less_the_score() -> None:
    """d/dphi of log w with log q held = pathwise + d/dphi log q(z) at fixed z, draw by draw."""
    model, x = problem()
    eps = np.random.default_rng(0).normal(size=(7, B, Q))
    stopped = model.terms(tensor(x), samples=7, noise=given(eps), gradient="stopped")
    pathwise = model.terms(tensor(x), samples=7, noise=given(eps))
    score = pathwise.q.log_prob(pathwise.z.detach())
    close(stopped.log_w, pathwise.log_w)
    a = gradients(stopped.log_w.mean(), model, retain_graph=True)
    b = gradients(pathwise.log_w.mean(), model, retain_graph=True) + gradients(score.mean(), model)
    close(a, b)


def test_the_score_gradient_holds_z() -> None:
    model, x = problem()
    terms = model.terms(tensor(x), samples=4, noise=noise(), gradient="score")
    assert not terms.z.requires_grad
    parts = torch.autograd.grad(terms.log_px.sum(), list(model.posterior.parameters()), allow_unused=True)
    assert all(g is None for g in parts)


def test_the_iwae_gradient_is_the_weighted_sum() -> None:
    """d log (1/K) sum w = sum of normalised weights times d log w (Burda et al. 2016, eq. 13)."""
    k = 7
    model, x = problem()
    eps = np.random.default_rng(3).normal(size=(k, B, Q))
    losses, _ = IWAE(k)(model, tensor(x), noise=given(eps), step=0)
    terms = model.terms(tensor(x), samples=k, noise=given(eps))
    log_w = terms.log_w.detach().numpy()
    weight = np.exp(log_w - log_w.max(0))
    weight /= weight.sum(0)
    by_hand = sum(
        weight[i, b] * gradients(terms.log_w[i, b], model, retain_graph=True) for i in range(k) for b in range(B)
    )
    close(-gradients(losses["model"].sum(), model), by_hand)


# ---- finite differences: every objective, every likelihood

X, Z, H = 5, 2, 3
LIKELIHOODS = {
    "bernoulli": (likelihoods.Bernoulli, {}),
    "categorical": (likelihoods.Categorical, {"categories": 3}),
    "gaussian, fixed": (likelihoods.Gaussian, {"scale": 0.5}),
    "gaussian, shared": (likelihoods.Gaussian, {"scale": "shared"}),
    "gaussian, entry": (likelihoods.Gaussian, {"scale": "entry"}),
    "gaussian, network": (likelihoods.Gaussian, {"scale": "network"}),
    "gaussian, optimal": (likelihoods.Gaussian, {"scale": "optimal"}),
    "logistic": (likelihoods.DiscretizedLogistic, {"bins": 17}),
}
OBJECTIVES = {
    "elbo": ELBO(samples=2),
    "elbo, beta and warm-up": ELBO(beta=3.0, warmup=5),
    "elbo, free bits": ELBO(free_bits=0.3, samples=2),
    "iwae": IWAE(3),
    "reconstruction": Reconstruction(samples=2),
    "sampled kl": Sampled(),
}


class Loss(nn.Module):
    def __init__(self, model: VAE, objective: BoundObjective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, x: Tensor, eps: Tensor, observed: Tensor | None = None) -> Tensor:
        losses, _ = self.objective(self.model, x, noise=given(eps), step=2, observed=observed)
        return losses["model"]


def small(name: str, posterior: type = posteriors.Gaussian) -> tuple[VAE, Tensor]:
    family, arguments = LIKELIHOODS[name]
    encoder = MLP(X, posterior.outputs(Z), (H,), "tanh")
    decoder = MLP(Z, family.outputs((X,), **arguments), (H,), "tanh")
    likelihood = family(decoder, (X,), **arguments)
    model = VAE(prior=priors.Gaussian(Z), posterior=posterior(encoder, Z), likelihood=likelihood).double()
    x = torch.randn(B, X, dtype=F64)
    if family is likelihoods.DiscretizedLogistic:
        x = torch.randint(17, (B, X)).double() / 16
    elif likelihood.discrete:
        x = torch.randint(arguments.get("categories", 2), (B, X)).double()
    return model, x


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("goal", OBJECTIVES)
def test_finite_differences(name: str, goal: str) -> None:
    model, x = small(name)
    objective = OBJECTIVES[goal]
    check(model, objective, x)


@pytest.mark.parametrize("goal", OBJECTIVES)
def test_finite_differences_with_a_full_covariance(goal: str) -> None:
    check(*(lambda m, x: (m, OBJECTIVES[goal], x))(*small("bernoulli", posteriors.FullGaussian)))


@pytest.mark.parametrize("goal", OBJECTIVES)
def test_finite_differences_with_a_mask(goal: str) -> None:
    model, x = small("gaussian, network")
    check(model, OBJECTIVES[goal], x, torch.rand(B, X) < 0.6)


def check(model: VAE, objective: BoundObjective, x: Tensor, observed: Tensor | None = None) -> None:
    loss = Loss(model, objective)
    names, values = zip(*loss.named_parameters())
    eps = torch.randn(objective.samples, B, Z, dtype=F64)

    def f(*parameters: Tensor) -> Tensor:
        return torch.func.functional_call(loss, dict(zip(names, parameters)), (x, eps, observed))

    assert torch.autograd.gradcheck(f, values)


def test_terms_are_plain_records() -> None:
    """A replaced record computes its fields anew: nothing stale is carried over."""
    model, x = problem()
    terms = model.terms(tensor(x), samples=4, noise=noise())
    first = terms.kl_total, terms.log_w, elbo(terms), iwae(terms)
    moved = replace(terms, x=terms.x + 1)
    assert not torch.equal(moved.log_w, first[1])
    close(moved.kl_total, first[0])
