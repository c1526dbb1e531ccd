"""Missing entries: the marginal of what was seen, whatever stands in the gaps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from oracles import F64, LinearGaussian, close, dataset, given, noise, rows, tensor, within
from vaelab import likelihoods, posteriors, priors
from vaelab.errors import UsageError
from vaelab.evaluation import evaluate_model, evidence_rows
from vaelab.models import VAE, Terms
from vaelab.networks import MLP
from vaelab.objectives import ELBO, IWAE, Reconstruction, iwae
from vaelab.training import validation_bound
from vaelab.use import reconstruct

K, B, D, Q = 3, 7, 5, 2
SEEN = np.array([True, False, True, True, False])
FILL = [0.0, 1e6, float("nan"), float("inf")]


def problem(posterior: str = "full"):
    truth = LinearGaussian.random(D, Q, seed=3).rotated()
    V, _, S = truth.encoder(SEEN)
    V = V + 7.0 * ~SEEN  # the encoder listens to the gaps: they must reach it as 0
    c = -V @ (truth.m * SEEN)
    x = truth.sample(B, seed=4)
    return truth, truth.vae(posterior, encoder=(V, c, S)), x, np.tile(SEEN, (B, 1))


def filled(x: np.ndarray, observed: np.ndarray, value: float) -> np.ndarray:
    return np.where(observed, x, value)


@pytest.mark.parametrize("value", FILL)
def test_with_the_exact_posterior_of_the_seen_every_draw_gives_their_log_density(value: float) -> None:
    truth, model, x, observed = problem()
    terms = model.terms(tensor(filled(x, observed, value)), samples=K, observed=torch.tensor(observed), noise=noise())
    close(terms.log_w, np.tile(truth.log_px(x, SEEN), (K, 1)))
    close(iwae(terms), truth.log_px(x, SEEN))
    assert np.abs(truth.log_px(x, SEEN) - truth.log_px(x)).min() > 0.1


def mixed(likelihood: str) -> tuple[VAE, torch.Tensor, torch.Tensor]:
    encoder = MLP(D, 2 * Q, (11,), "tanh")
    families = {
        "bernoulli": (likelihoods.Bernoulli, {}),
        "categorical": (likelihoods.Categorical, {"categories": 2}),
        "gaussian": (likelihoods.Gaussian, {"scale": "network"}),
        "optimal": (likelihoods.Gaussian, {"scale": "optimal"}),
        "logistic": (likelihoods.DiscretizedLogistic, {"bins": 2}),
    }
    family, arguments = families[likelihood]
    decoder = MLP(Q, family.outputs((D,), **arguments), (11,), "tanh")
    part = family(decoder, (D,), **arguments)
    model = VAE(prior=priors.Gaussian(Q), posterior=posteriors.Gaussian(encoder, Q), likelihood=part).double()
    x = torch.randint(2, (B, D)).double() if part.discrete else torch.randn(B, D, dtype=F64)
    observed = torch.rand(B, D) < 0.6
    observed[0], observed[1] = True, False  # a full row and an empty one
    return model, x, observed


@pytest.mark.parametrize("likelihood", ["bernoulli", "categorical", "gaussian", "optimal", "logistic"])
@pytest.mark.parametrize("objective", [ELBO(samples=K), ELBO(free_bits=0.1, samples=K), IWAE(K), Reconstruction(K)])
def test_what_stands_in_a_gap_changes_no_bit(likelihood: str, objective) -> None:
    model, x, observed = mixed(likelihood)
    eps = torch.randn(K, B, Q, dtype=F64)
    outcomes = []
    for value in FILL:
        put = torch.where(observed, x, value)
        losses, terms = objective(model, put, noise=given(eps), step=0, observed=observed)
        gradients = torch.autograd.grad(losses["model"].sum(), list(model.parameters()), allow_unused=True)
        flat = torch.cat([g.flatten() for g in gradients if g is not None])
        assert torch.isfinite(flat).all()
        if model.likelihood.updates:
            model.likelihood.update(terms)
        variance = getattr(model.likelihood, "variance", torch.zeros(())).clone()
        if likelihood == "optimal":
            model.likelihood.variance.fill_(1.0)
        outcomes.append(torch.cat([losses["model"].detach(), flat, terms.z.detach().flatten(), variance.reshape(1)]))
    for other in outcomes[1:]:
        assert torch.equal(other, outcomes[0])


@pytest.mark.parametrize("likelihood", ["bernoulli", "categorical", "gaussian", "optimal", "logistic"])
def test_seen_entries_alone_are_summed(likelihood: str) -> None:
    model, x, observed = mixed(likelihood)
    terms = model.terms(x, samples=K, observed=observed, noise=noise())
    each = terms.px.base_dist.log_prob(torch.where(observed, x, 0)).detach().numpy()
    exact = np.zeros((K, B))
    for b in range(B):
        for d in range(D):
            if observed[b, d]:
                exact[:, b] += each[:, b, d]
    close(terms.log_px, exact)
    assert (terms.log_px[:, 1] == 0).all()
    close(terms.log_px[:, 0], terms.px.log_prob(terms.x)[:, 0])


def test_a_mask_of_ones_changes_nothing() -> None:
    model, x, _ = mixed("gaussian")
    eps = torch.randn(K, B, Q, dtype=F64)
    plain = model.terms(x, samples=K, noise=given(eps))
    full = model.terms(x, samples=K, noise=given(eps), observed=torch.ones(B, D, dtype=torch.bool))
    close(plain.log_w, full.log_w)


@pytest.mark.parametrize(
    "observed",
    [
        torch.ones(B, D),
        torch.ones(B, D, dtype=torch.uint8),
        torch.ones(D, dtype=torch.bool),
        torch.ones(B, 1, dtype=torch.bool),
        torch.ones(B, D + 1, dtype=torch.bool),
    ],
)
def test_a_mask_of_another_kind_is_refused(observed: torch.Tensor) -> None:
    model, x, _ = mixed("gaussian")
    with pytest.raises(UsageError, match=r"observed must be bool of x's shape \(7, 5\), got torch\."):
        model.terms(x, observed=observed)


def test_a_joint_density_cannot_leave_entries_out() -> None:
    px = torch.distributions.MultivariateNormal(torch.zeros(K, B, D), torch.eye(D))
    terms = Terms(torch.zeros(B, D), torch.zeros(K, B, Q), px, px, px, torch.ones(B, D, dtype=torch.bool))
    with pytest.raises(NotImplementedError, match="MultivariateNormal does not factorise over entries"):
        _ = terms.log_px


def test_the_whole_path_with_missing_cells() -> None:
    """NaN in the user's rows, their own units: evaluate gives the density of the seen cells in those units."""
    truth, model, x, observed = problem()
    loc, scale = np.array([3.0, 0, -2, 10, 1]), np.array([2.0, 5, 0.5, 10, 3])
    raw = np.where(observed, x * scale + loc, np.nan)
    some = rows(raw, observed=observed, loc=torch.tensor(loc), scale=torch.tensor(scale))
    exact = truth.log_px(x, SEEN)
    close(evidence_rows(model, some, samples=4).evidence, exact, rel=1e-9)
    value = validation_bound(model, some).elbo
    assert value == pytest.approx(exact.mean(), rel=1e-9)
    standard = evaluate_model(model, some, samples=4, units="standardised")
    user = evaluate_model(model, some, samples=4)
    assert standard.log_evidence.value == pytest.approx(exact.mean(), rel=1e-9)
    assert user.log_evidence.value == pytest.approx(exact.mean() - np.log(scale[SEEN]).sum(), rel=1e-9)


def test_masks_that_differ_by_row_take_the_jacobian_of_their_own_cells() -> None:
    model, x, observed = mixed("gaussian")
    scale = torch.tensor([2.0, 5, 0.5, 10, 3], dtype=F64)
    some = rows(torch.where(observed, x * scale, torch.nan), observed=observed.numpy(), scale=scale)
    shift = (
        evaluate_model(model, some, samples=3).elbo.value
        - evaluate_model(model, some, samples=3, units="standardised").elbo.value
    )
    exact = -(observed * scale.log()).sum(1).mean().item()
    assert shift == pytest.approx(exact, rel=1e-10)


def test_reconstruction_of_missing_cells_is_their_conditional_mean() -> None:
    """E_q[W z + m] at the exact posterior of the seen is E[x_missing | x_seen]."""
    truth, model, x, observed = problem()
    some = dataset(np.where(observed, x, np.nan), observed=observed)
    mean, covariance = truth.conditional(x, SEEN)
    found = reconstruct(model, some, samples=4001).numpy()[:, ~SEEN]
    Wm = truth.W[~SEEN]
    spread = np.sqrt(np.diag(Wm @ truth.encoder(SEEN)[2] @ Wm.T) / 4001)
    assert (np.abs(found - mean) < 5 * spread).all()
    q = model.posterior(tensor(filled(x, observed, 0.0)))
    close(q.mean.detach().numpy() @ Wm.T + truth.m[~SEEN], mean)
    z = q.mean + torch.randn(20_011, B, Q, dtype=F64) @ torch.linalg.cholesky(q.covariance_matrix[0]).T
    drawn = model.decode(z).mean.detach()[..., ~SEEN].numpy()
    drawn = drawn + np.sqrt(truth.s2) * np.random.default_rng(0).normal(size=drawn.shape)
    centred = drawn - mean
    within(centred[..., :, None] * centred[..., None, :], np.broadcast_to(covariance, (B, 2, 2)))
