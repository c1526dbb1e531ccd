"""Leapfrog steps under a learned metric: reversible, of known volume, and true to the energy to second order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from linear_posteriors import TRUTH, Q, gap, linear_model
from oracles import F64, close, noise, tensor
from vaelab import posteriors, refinements
from vaelab.errors import UsageError
from vaelab.models import VAE
from vaelab.refinements.riemannian import Geodesic

COMPONENTS = 3


def evolved(**arguments: float) -> Geodesic:
    """The distribution at one row of the linear model, under a metric that changes over a unit."""
    refine = refinements.Riemannian(Q, components=COMPONENTS, temperature=1.0, floor=0.2, **arguments).double()
    torch.nn.init.normal_(refine.below)
    plain = linear_model(posteriors.Gaussian, wide=1.3)
    model = VAE(prior=plain.prior, posterior=plain.posterior, likelihood=plain.likelihood, refine=refine).double()
    x = tensor(TRUTH.sample(1, seed=2))
    q0 = model.posterior(x)
    made = refine(q0, model.log_joint(x, q0, None, None), noise())
    assert isinstance(made, Geodesic)
    return made


def energy(d: Geodesic, z: Tensor, r: Tensor) -> Tensor:
    k = d.metric.inverse(z)
    return 0.5 * torch.einsum("...d,...de,...e->...", r, k, r) - 0.5 * torch.logdet(k) - d.log_joint(z)


def start() -> tuple[Tensor, Tensor]:
    return torch.randn(2, 5, 1, Q, dtype=F64).unbind(0)


def run(d: Geodesic, z: Tensor, r: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    slope = d.slope(z, True)
    for _ in range(steps):
        z, r, slope = d.move(z, r, slope, True)
    return z, r


def test_the_metric_is_positive_and_its_force_the_derivative_of_the_energy() -> None:
    d, (z, r) = evolved(), start()
    k = d.metric.inverse(z)
    assert (torch.linalg.eigvalsh(k) >= 0.2).all()
    near = np.exp(-((z.numpy()[..., None, :] - d.metric.centres.detach().numpy()) ** 2).sum(-1))
    close(k, np.einsum("kbc,cde->kbde", near, d.metric.spread.detach().numpy()) + 0.2 * np.eye(Q))
    at = z.clone().requires_grad_()
    kinetic = energy(d, at, r) + d.log_joint(at)
    (slope,) = torch.autograd.grad(kinetic.sum(), at)
    close(d.metric.force(d.metric.pull(z), r), slope, rel=1e-9)
    close(d.metric.velocity(z, r), (k @ r.unsqueeze(-1)).squeeze(-1))


def test_back_with_the_momentum_turned() -> None:
    d, (z, r) = evolved(step=0.1, iterations=30), start()
    there = run(d, z, r, 5)
    back = run(d, there[0], -there[1], 5)
    assert (there[0] - z).abs().max() > 0.1
    assert (back[0] - z).abs().max() < 1e-8
    assert (back[1] + r).abs().max() < 1e-8


def test_the_energy_is_kept_to_the_square_of_the_step() -> None:
    """The same way in 10, 20 and 40 steps: a quarter of the error each time."""
    errors = []
    z, r = start()
    for steps in (10, 20, 40):
        torch.manual_seed(5)
        d = evolved(step=0.8 / steps, iterations=30)
        errors.append((energy(d, *run(d, z, r, steps)) - energy(d, z, r)).abs().mean().item())
    ratios = [a / b for a, b in pairwise(errors)]
    assert all(3.3 < ratio < 4.7 for ratio in ratios), (errors, ratios)


def test_log_q_is_the_change_of_volume_of_the_whole_map() -> None:
    """log q(z_0, r_0) - log |det d(z_K, r_K) / d(noise)| is log q of the draw with its momentum, beside log N(r_K)."""
    d = evolved(leapfrog=2, step=0.1, tempering=0.3, iterations=40)

    def last(v: Tensor) -> Tensor:
        """Noise -> (z_K, r_K), tempered."""
        e, g = v[:Q], v[Q:]
        z = (d.loc[0] + d.scale[0] * e).reshape(1, 1, Q)
        root = d.beta.rsqrt()
        r = torch.linalg.cholesky(d.metric.inverse(z)).mT.inverse() @ (root * g).unsqueeze(-1)
        r, heat, slope = r.squeeze(-1), root, d.slope(z, True)
        for k in (1, 2):
            z, r, slope = d.move(z, r, slope, True)
            cooler = root + (1 - root) * (k / 2) ** 2
            r, heat = r * cooler / heat, cooler
        return torch.cat([z.flatten(), r.flatten()])

    v = torch.randn(2 * Q, dtype=F64)
    log_det = torch.linalg.slogdet(torch.autograd.functional.jacobian(last, v))[1]
    base = torch.distributions.Normal(0.0, 1.0).log_prob(v).sum()
    z, r = (part.reshape(1, 1, Q) for part in last(v).chunk(2))
    k = d.metric.inverse(z)
    momentum = torch.distributions.MultivariateNormal(torch.zeros(Q, dtype=F64), precision_matrix=k)
    drawn, log_q = d.push(v[:Q].reshape(1, 1, Q), v[Q:].reshape(1, 1, Q))
    close(drawn, z)
    close(log_q[0, 0], base - log_det - momentum.log_prob(r)[0, 0], rel=1e-9)


def test_a_learned_metric_improves_a_wrong_posterior() -> None:
    plain = linear_model(posteriors.Gaussian, wide=1.3)
    refine = refinements.Riemannian(Q, leapfrog=3, step=0.1, components=COMPONENTS)
    parts = {"prior": plain.prior, "posterior": plain.posterior, "likelihood": plain.likelihood}
    model = VAE(**parts, refine=refine).double()
    with torch.no_grad():
        model.posterior.network.map.bias[:Q] += 1.0
    optimiser = torch.optim.Adam(refine.parameters(), lr=0.05)
    for step in range(60):
        terms = model.terms(tensor(TRUTH.sample(50, seed=step)), samples=4, noise=noise(step))
        optimiser.zero_grad()
        (-terms.log_w.mean()).backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in refine.parameters())
        optimiser.step()
    (before, se_0), (after, se_1) = gap(VAE(**parts)), gap(model)
    assert after < 0.5 * before - 5 * np.hypot(se_0, se_1), (before, after)


def test_nonsense_is_refused() -> None:
    for wrong in ({"leapfrog": 0}, {"step": 0.2}, {"tempering": 1.0}, {"components": 0}, {"floor": 0.0}):
        with pytest.raises(UsageError, match="Riemannian: latent_dim, leapfrog"):
            refinements.Riemannian(Q, **wrong)
    plain = linear_model(posteriors.Flow)
    model = VAE(
        prior=plain.prior, posterior=plain.posterior, likelihood=plain.likelihood, refine=refinements.Riemannian(Q)
    )
    with pytest.raises(UsageError, match="refine riemannian starts from the posterior gaussian"):
        model.double().terms(tensor(TRUTH.sample(2)), noise=noise())
