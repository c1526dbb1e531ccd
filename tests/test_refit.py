"""Priors fitted after training: known codes give known densities, nothing else of the model moves."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp

import vaelab
from linear_posteriors import TRUTH, Q
from oracles import F64, close, dataset, noise, tensor, within
from vaelab import likelihoods, posteriors, priors
from vaelab.cli import run as command
from vaelab.distributions import draw
from vaelab.errors import UsageError
from vaelab.models import VAE
from vaelab.networks import MLP, Linear
from vaelab.use.refit import codes_of, log_prior, refit

ROWS = 20_011
X = 7


@pytest.fixture(scope="module")
def exact_model() -> VAE:
    """The linear model with its exact posterior: the codes of draws of x are draws of N(0, I)."""
    return TRUTH.vae("full")


def test_codes_of_the_exact_posterior_are_standard_normal(exact_model: VAE) -> None:
    """Mean and covariance of the one Gaussian within 5 standard errors, as of one draw for each of 20,011 rows."""
    x = TRUTH.sample(ROWS, seed=2)
    new = refit(exact_model, dataset(x), priors.Mixture(Q, 1, "full"))
    assert np.abs(new.prior_at().mean.detach().numpy()).max() < 5 / math.sqrt(ROWS)
    cov = new.prior_at().components.covariance_matrix[0].detach().numpy()
    assert np.abs(cov - np.eye(Q)).max() < 5 * math.sqrt(2 / ROWS)
    z = codes_of(exact_model, dataset(x))[0]
    within(z, np.zeros(Q))
    within(z.square(), np.ones(Q))


@pytest.mark.parametrize("prior", [priors.Flow(Q, 2, 8, kind="maf"), priors.Flow(Q, 1, 4)])
def test_a_flow_fitted_to_them_is_nearly_that(exact_model: VAE, prior: priors.Flow) -> None:
    data = dataset(TRUTH.sample(5_003, seed=2))
    new = refit(exact_model, data, prior, steps=150)
    z = torch.randn(4_001, Q, dtype=F64)
    kl = stats.norm.logpdf(z).sum(1) - new.prior_at().log_prob(z).detach().numpy()
    assert kl.mean() < 0.02 + 5 * kl.std() / math.sqrt(4_001)
    assert kl.mean() > -5 * kl.std() / math.sqrt(4_001)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_a_known_mixture_is_found_again(covariance: str) -> None:
    """E[log p - log p_fitted], over draws of p that the fit has not seen, within 5 standard errors of 0."""
    rng = np.random.default_rng(3)
    weight, loc = np.array([0.2, 0.5, 0.3]), np.array([[-4.0, 0], [0, 3.0], [4.0, -1.0]])
    factor = np.stack([np.diag(d) for d in np.exp(0.3 * rng.normal(size=(3, 2)))])
    if covariance == "full":
        factor[:, 1, 0] = [0.5, -0.8, 0.3]

    def sample(n: int) -> np.ndarray:
        k = rng.choice(3, n, p=weight)
        return loc[k] + (factor[k] @ rng.normal(size=(n, 2, 1)))[..., 0]

    part = priors.Mixture(2, 3, covariance).double()
    assert part.fit(tensor(sample(ROWS)))
    fresh = sample(ROWS)
    each = [stats.multivariate_normal(m, L @ L.T).logpdf(fresh) for m, L in zip(loc, factor)]
    within(logsumexp(each, axis=0, b=weight[:, None]) - part().log_prob(tensor(fresh)).detach().numpy(), 0.0)
    close(torch.sort(part.logits.exp().detach())[0], np.sort(weight), rel=0.03)


def model_of(family: type[posteriors.Amortized] = posteriors.Gaussian) -> tuple[VAE, object]:
    q = family(MLP(X, family.outputs(2), (11,), "tanh"), 2)
    likelihood = likelihoods.Bernoulli(Linear(2, X), (X,))
    x = (torch.rand(101, X) < 0.4).float()
    return VAE(prior=priors.Gaussian(2), posterior=q, likelihood=likelihood), dataset(x, values="binary", low=0, high=1)


@pytest.mark.parametrize("name", ["mixture:components=3", "flow:hidden=5", "vamp:components=20", "gaussian"])
def test_only_the_prior_is_another(name: str) -> None:
    from vaelab.parts import prior_for

    model, data = model_of()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    prior = prior_for(model, (X,), name)
    state = {k: v.clone() for k, v in prior.state_dict().items()}
    new = refit(model, data, prior, steps=5)
    for old, kept in ((model, before), (prior, state)):
        assert all(torch.equal(v, kept[k]) for k, v in old.state_dict().items())
    assert isinstance(model.prior, priors.Gaussian)
    for k, v in new.state_dict().items():
        if not k.startswith("prior"):
            assert torch.equal(v, before[k])
            assert v.data_ptr() != model.state_dict()[k].data_ptr()
    if name.startswith("vamp"):
        assert new.prior.posterior is new.posterior
    if name.startswith("mixture"):  # the others are not there after 5 steps
        assert log_prior(new, data) > log_prior(model, data)
    assert all(p.grad is None for p in new.parameters())
    again = refit(model, data, prior, steps=5)
    assert all(torch.equal(a, b) for a, b in zip(new.parameters(), again.parameters()))


def test_an_autoencoder_gets_something_to_draw_from() -> None:
    """The codes are a point for each row; there is still no bound on log p(x)."""
    model, data = model_of(posteriors.Point)
    new = refit(model, data, priors.Mixture(2, 1, "full"))
    z = model.posterior(data.x.float()).mean.detach().double()
    close(new.prior_at().mean, z.mean(0), rel=1e-5)
    close(new.prior_at().components.covariance_matrix[0], z.T.cov(correction=0), rel=1e-4)
    drawn = draw(new.prior_at(), ROWS, noise(1)).detach().double()
    within(drawn, z.mean(0))
    assert vaelab.Run(new, data.schema).generate(5).shape == (5, X)
    judged = vaelab.Run(new, data.schema).evaluate(data, samples=3)
    assert judged.elbo is None
    assert "no bound" in judged.json()["reason"]
    with pytest.raises(UsageError, match="needs a posterior with a density"):
        refit(model, data, priors.Vamp(model.posterior, (X,), 3), steps=1)


def test_what_cannot_be_refitted_is_refused() -> None:
    model, data = model_of()
    with pytest.raises(UsageError, match="the prior has latent_dim 3, the posterior 2"):
        refit(model, data, priors.Mixture(3))
    with pytest.raises(UsageError, match="a Linear has no single latent space"):
        refit(Linear(2, 3), data, priors.Mixture(2))
    with pytest.raises(UsageError, match="a mixture of 100000 components needs as many codes"):
        refit(model, data, priors.Mixture(2, 100_000))
    with pytest.raises(UsageError, match="does not know its training rows"):
        vaelab.Run(model, data.schema).refit()


def test_the_command_writes_a_run_that_all_verbs_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train = [
        "train",
        "digits",
        "--latent-dim",
        "2",
        "--hidden",
        "16",
        "--epochs",
        "2",
        "--out",
        "run",
        "-q",
        "--no-report",
    ]
    assert command(train) == 0
    assert command(["refit", "run", "--prior", "mixture:components=5,covariance=full", "-o", "new"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "new"
    assert "nats per row (validation rows)" in said.err
    old, new = vaelab.load("run"), vaelab.load("new")
    assert new.meta["parts"]["prior"] == "mixture:components=5,covariance=full"
    assert torch.equal(new.model.likelihood.network.layers[0].weight, old.model.likelihood.network.layers[0].weight)
    gain = log_prior(new.model, new.data()[0]) - log_prior(old.model, old.data()[0])
    assert gain > 0
    assert new.evaluate(samples=20).split == "validation"
    for verb in ("evaluate new --samples 20 -q", "generate new -n 3 -o x.png", "report new", "info new"):
        assert command(verb.split()) == 0, verb
    file = (tmp_path / "new" / "model.safetensors").read_bytes()
    assert command(["refit", "run", "--prior", "mixture", "-o", "new"]) == 2
    assert command(["refit", "run", "--prior", "mixtur", "-o", "other"]) == 2
    assert command(["refit", "run", "--prior", "mixture:components=999999", "-o", "other"]) == 2
    assert not (tmp_path / "other").exists()
    assert (tmp_path / "new" / "model.safetensors").read_bytes() == file
    assert command(["refit", "run", "--prior", "mixture:components=5,covariance=full", "-o", "new", "--force"]) == 0
    assert (tmp_path / "new" / "model.safetensors").read_bytes() == file
