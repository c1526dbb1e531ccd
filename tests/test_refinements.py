"""Refinements of q(z | x): leapfrog weights by hand and on average, gaps that shrink, gradients and refusals."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from linear_posteriors import TRUTH, Q, gap, linear_model, relative_weights
from oracles import F64, close, given, noise, rows, tensor, within
from vaelab import posteriors, recipes, refinements
from vaelab.distributions import draw, held
from vaelab.errors import UsageError
from vaelab.evaluation import evidence_rows, mutual_information
from vaelab.models import VAE
from vaelab.noise import Given
from vaelab.objectives import ELBO

B, K = 3, 2


def refined(refine: refinements.Refinement, wide: float = 1.3) -> VAE:
    plain = linear_model(posteriors.Gaussian, wide=wide)
    return VAE(prior=plain.prior, posterior=plain.posterior, likelihood=plain.likelihood, refine=refine).double()


def test_leapfrog_by_hand() -> None:
    """Steps, tempering and weights written out for the linear model, whose log joint is quadratic."""
    refine = refinements.Hamiltonian(Q, leapfrog=3, step=0.2, tempering=0.4)
    model, x = refined(refine), TRUTH.sample(B, seed=1)
    e, g = np.random.default_rng(0).normal(size=(2, K, B, Q))
    terms = model.terms(tensor(x), samples=K, noise=given(e, g))
    q0 = model.posterior(tensor(x))
    mean, deviation = (v.detach().numpy() for v in (q0.mean, q0.stddev))

    def slope(z: np.ndarray) -> np.ndarray:
        return (x - z @ TRUTH.W.T - TRUTH.m) @ TRUTH.W / TRUTH.s2 - z

    beta, step = refine.raw_beta.sigmoid().item(), 0.5 * refine.raw_step.sigmoid().detach().numpy()
    assert abs(beta - 0.4) < 1e-6
    assert np.abs(step - 0.2).max() < 1e-6
    z, r = mean + deviation * e, g / math.sqrt(beta)
    log_q = -0.5 * (e**2).sum(-1) - math.log(2 * math.pi) * Q / 2 - np.log(deviation).sum(-1)
    root = [(1 - 1 / math.sqrt(beta)) * (k / 3) ** 2 + 1 / math.sqrt(beta) for k in range(4)]  # 1 / sqrt(beta_k)
    for k in range(1, 4):
        r = r + 0.5 * step * slope(z)
        z = z + step * r
        r = r + 0.5 * step * slope(z)
        r = r * root[k] / root[k - 1]
    close(terms.z, z, rel=1e-9)
    close(terms.log_qz, log_q - 0.5 * (g**2).sum(-1) + 0.5 * (r**2).sum(-1), rel=1e-9)


def test_leapfrog_with_tempering_has_the_jacobian_that_the_weights_say() -> None:
    model, x = refined(refinements.Hamiltonian(Q, leapfrog=2, step=0.3, tempering=0.3)), tensor(TRUTH.sample(1))
    q0 = model.posterior(x)
    evolved = model.refine(q0, model.log_joint(x, q0, None, None), noise())

    def both(v: Tensor) -> Tensor:
        """(z_0, r_0) -> (z_K, r_K), the steps run once more."""
        e = (v[:Q] - q0.mean[0]) / q0.stddev[0]
        r = v[Q:]
        z, root = (q0.mean + q0.stddev * e)[None], evolved.beta.rsqrt()
        heat = root
        for k in (1, 2):
            r = r + 0.5 * evolved.step * evolved.slope(z, True)
            z = z + evolved.step * r
            r = r + 0.5 * evolved.step * evolved.slope(z, True)
            cooler = root + (1 - root) * (k / 2) ** 2
            r, heat = r * cooler / heat, cooler
        return torch.cat([z.flatten(), r.flatten()])

    J = torch.autograd.functional.jacobian(both, torch.randn(2 * Q, dtype=F64))
    close(torch.linalg.det(J).abs(), evolved.beta ** (Q / 2))  # up to the order of z and e


@pytest.mark.parametrize(
    "refine",
    [
        refinements.Hamiltonian(Q, leapfrog=3, step=0.2),
        refinements.Hamiltonian(Q, leapfrog=1, step=0.3, tempering=0.6),
        refinements.GradientSteps(steps=3),
        refinements.Riemannian(Q, leapfrog=3, step=0.1, components=4, iterations=15),
    ],
    ids=["hamiltonian", "one step", "gradient steps", "riemannian"],
)
def test_the_weights_average_to_the_evidence(refine: refinements.Refinement) -> None:
    within(relative_weights(refined(refine), TRUTH.sample(3, seed=1)), np.ones(3))


def test_more_gradient_steps_leave_a_smaller_gap() -> None:
    """From a posterior that is wrong by two deviations and twice too wide; antithetic draws make it exact in mu."""
    gaps = []
    for steps in (0, 1, 2, 4, 8, 16):
        plain = linear_model(posteriors.Gaussian, wide=2.0)
        with torch.no_grad():
            plain.posterior.network.map.bias[:Q] += 1.0
        refine = refinements.GradientSteps(steps, rate=0.3, samples=32) if steps else None
        parts = {"prior": plain.prior, "posterior": plain.posterior, "likelihood": plain.likelihood}
        gaps.append(gap(VAE(**parts, refine=refine).double(), samples=200))
    for (a, se_a), (b, se_b) in pairwise(gaps):
        assert b < a - 5 * math.hypot(se_a, se_b) or b < 0.35, gaps
    assert gaps[-1][0] < 0.2 * gaps[0][0]


def test_learned_leapfrog_steps_improve_a_wrong_posterior() -> None:
    """The encoder stays wrong by a unit in each mean; steps and tempering alone are trained."""
    model = refined(refinements.Hamiltonian(Q, leapfrog=4, step=0.1))
    with torch.no_grad():
        model.posterior.network.map.bias[:Q] += 1.0
    parts = {"prior": model.prior, "posterior": model.posterior, "likelihood": model.likelihood}
    optimiser = torch.optim.Adam(model.refine.parameters(), lr=0.05)
    for step in range(60):
        terms = model.terms(tensor(TRUTH.sample(50, seed=step)), samples=4, noise=noise(step))
        optimiser.zero_grad()
        (-terms.log_w.mean()).backward()
        assert model.refine.raw_step.grad.abs().max() > 0
        optimiser.step()
    (before, se_0), (after, se_1) = gap(VAE(**parts)), gap(model)
    assert after < 0.5 * before - 5 * math.hypot(se_0, se_1), (before, after)


@pytest.mark.parametrize("name", ["hamiltonian", "gradient-steps:steps=2", "riemannian:components=3,leapfrog=2"])
def test_training_gradients_by_finite_differences(name: str) -> None:
    """Through all steps, in the encoder, the decoder and the refinement, at given noise."""
    model, _ = recipes.vae((3,), Q, hidden=(2,), activation="tanh", likelihood="gaussian:scale=0.7", refine=name)
    model = model.double()
    x = torch.randn(B, 3, dtype=F64)
    e = [torch.randn(n, B, Q, dtype=F64) for n in ((K, K) if "gradient" not in name else (1, 1, K))]
    names, values = zip(*model.named_parameters())

    class Bound(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self) -> Tensor:
            return self.model.terms(x, samples=K, noise=Given(e)).log_w

    def f(*parameters: Tensor) -> Tensor:
        return torch.func.functional_call(Bound(), {f"model.{n}": p for n, p in zip(names, parameters)}, ())

    assert torch.autograd.gradcheck(f, values)


@pytest.mark.parametrize("name", ["hamiltonian", "gradient-steps:steps=2", "riemannian:components=3,leapfrog=2"])
def test_rows_do_not_depend_on_their_batch_and_masks_are_kept(name: str) -> None:
    model, _ = recipes.vae((3,), Q, hidden=(4,), likelihood="gaussian:scale=0.7", refine=name)
    x, seen = torch.randn(B, 3, dtype=F64), torch.rand(B, 3) < 0.6
    seen[:, 0] = True
    some = rows(x, observed=seen.numpy())
    values = evidence_rows(model.double(), some, samples=7, shared=True)  # in inference mode
    for b in range(B):
        alone = rows(x[[b]], observed=seen[[b]].numpy())
        close(evidence_rows(model, alone, samples=7, shared=True).evidence, values.evidence[b : b + 1])
        close(evidence_rows(model, alone, samples=7, shared=True).mean, values.mean[b : b + 1])
    e = [torch.randn(n, B, Q, dtype=F64) for n in ((K, K) if "gradient" not in name else (1, 1, K))]
    hidden = torch.where(seen, x, 99.0)
    one, other = (model.terms(v, samples=K, observed=seen, noise=Given(e)).log_w for v in (x, hidden))
    close(one, other)
    assert (mutual_information(model, some) is None) == ("gradient" not in name)


def test_what_a_refinement_cannot_do_it_says() -> None:
    model, x = refined(refinements.Hamiltonian(Q)), tensor(TRUTH.sample(B))
    terms = model.terms(x, noise=noise())
    for ask in (
        lambda: terms.q.log_prob(terms.z + 0),
        lambda: model.terms(x, gradient="score", noise=noise()).log_qz,
    ):
        with pytest.raises(UsageError, match=r"knows log q.* of its own draws only"):
            ask()
    with pytest.raises(UsageError, match="cannot be held"):
        ELBO(gradient="stopped")(model, x, noise=noise(), step=0)
    with pytest.raises(UsageError, match="cannot be held"):
        held(terms.q)
    flow = linear_model(posteriors.Flow)
    for refine in (refinements.Hamiltonian(Q), refinements.GradientSteps()):
        parts = {"prior": flow.prior, "posterior": flow.posterior, "likelihood": flow.likelihood}
        with pytest.raises(UsageError, match="starts from the posterior gaussian, got a Flow"):
            VAE(**parts, refine=refine).double().terms(x, noise=noise())
    for wrong in ({"leapfrog": 0}, {"step": 0.5}, {"tempering": 1.0}, {"latent_dim": 0}):
        with pytest.raises(UsageError, match="Hamiltonian: latent_dim and leapfrog"):
            refinements.Hamiltonian(**{"latent_dim": Q, **wrong})
    for wrong in ({"steps": 0}, {"rate": 0.0}, {"samples": 0}):
        with pytest.raises(UsageError, match="GradientSteps: steps and samples"):
            refinements.GradientSteps(**wrong)


def test_a_refined_gaussian_is_a_gaussian_with_closed_form_kl() -> None:
    model, x = refined(refinements.GradientSteps(2)), tensor(TRUTH.sample(B))
    terms = model.terms(x, samples=K, noise=noise())
    assert isinstance(terms.q, Independent)
    assert isinstance(terms.q.base_dist, Normal)
    assert terms.kl["z"].shape == (K, B, Q)
    assert draw(terms.q, K, noise()).shape == (K, B, Q)
