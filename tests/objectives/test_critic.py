"""Critics: their loss by hand, what they learn against known density ratios, who owns what."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from oracles import F64, LinearGaussian, close, given, noise, tensor
from vaelab.errors import UsageError
from vaelab.models import VAE
from vaelab.objectives import Adversarial, Factor, elbo
from vaelab.objectives.critic import permuted, prior_draws

K, B, D, Q = 2, 7, 5, 3


def problem() -> tuple[VAE, Tensor]:
    truth = LinearGaussian.random(D, Q, seed=2).rotated()
    V, c, S = truth.encoder()
    return truth.vae(encoder=(0.8 * V, c + 0.1, S * 1.3)), tensor(truth.sample(B, seed=5))


def test_each_dimension_is_permuted_by_itself() -> None:
    z, u = torch.randn(K, B, Q, dtype=F64), torch.rand(K, B, Q, dtype=F64)
    found = permuted(z, given(u))
    order = u.numpy().argsort(1)
    for k in range(K):
        for d in range(Q):
            close(found[k, :, d], z[k, order[k, :, d], d])
    assert torch.equal(found.sort(1).values, z.sort(1).values)
    rows = {tuple(row) for row in z[0].tolist()}
    assert not any(tuple(row) in rows for row in found[0].tolist())


def test_factor_by_hand() -> None:
    model, x = problem()
    objective = Factor(Q, gamma=5.0, width=11, layers=2, samples=K).double()
    eps, u = torch.randn(K, B, Q, dtype=F64), torch.rand(K, B, Q, dtype=F64)
    losses, t = objective(model, x, noise=given(eps, u), step=0)
    assert set(losses) == {"model", "critic"}
    ratio = objective.critic(t.z).squeeze(-1)
    close(losses["model"], (5 * ratio).mean(0) - elbo(t))
    other = objective.critic(permuted(t.z, given(u))).squeeze(-1)
    by_hand = -(torch.sigmoid(ratio).log() + (1 - torch.sigmoid(other)).log()).mean(0)
    close(losses["critic"], by_hand)


def test_adversarial_by_hand() -> None:
    model, x = problem()
    objective = Adversarial(Q, weight=3.0, width=11, layers=2, samples=K).double()
    eps, other = torch.randn(K, B, Q, dtype=F64), torch.randn(K, B, Q, dtype=F64)
    losses, t = objective(model, x, noise=given(eps, other), step=0)
    real, mine = (torch.sigmoid(objective.critic(v)).squeeze(-1) for v in (other, t.z))
    close(losses["model"], -(t.log_px + 3 * mine.log()).mean(0))
    close(losses["critic"], -(real.log() + (1 - mine).log()).mean(0))


@pytest.mark.parametrize("kind", [Factor, Adversarial])
def test_owners(kind: type) -> None:
    """The critic's loss moves nothing of the model, and no critic's weight is the model's."""
    model, x = problem()
    objective = kind(Q, width=11).double()
    owners = objective.owners(model)
    assert {id(p) for p in owners["model"]} == {id(p) for p in model.parameters()}
    assert {id(p) for p in owners["critic"]} == {id(p) for p in objective.parameters()}
    losses, _ = objective(model, x, noise=noise(), step=0)
    parts = torch.autograd.grad(losses["critic"].sum(), owners["model"], allow_unused=True, retain_graph=True)
    assert all(g is None for g in parts)
    parts = torch.autograd.grad(losses["critic"].sum(), owners["critic"], retain_graph=True)
    assert all(g.abs().max() > 0 for g in parts)
    encoder = list(model.posterior.parameters())
    alone = torch.autograd.grad(losses["model"].sum(), encoder, retain_graph=True)
    objective.gamma = objective.weight = 0.0
    losses, _ = objective(model, x, noise=noise(), step=0)
    without = torch.autograd.grad(losses["model"].sum(), encoder)
    assert all((a - b).abs().max() > 1e-6 for a, b in zip(alone, without))


def test_as_many_draws_of_the_prior() -> None:
    model, x = problem()
    t = model.terms(x, samples=K, noise=noise())
    eps = torch.randn(K, B, Q, dtype=F64)
    close(prior_draws(t, given(eps)), eps)
    t.p = t.p.expand((B,))  # as with a condition
    close(prior_draws(t, given(eps)), eps)


def learnt(objective: Factor | Adversarial, draw, steps: int = 400) -> None:
    """Train the critic alone: draw() gives the two samples that it tells apart."""
    optimiser = torch.optim.Adam(objective.critic.parameters(), lr=5e-3)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 5e-3 * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = objective.learn(*draw()).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def test_the_critic_learns_the_log_density_ratio() -> None:
    """p = N(0, 1), q = N(0.8, 0.7²): log p/q where both have mass, within 0.15 nats on average."""
    objective, source = Adversarial(1, width=32, layers=2), torch.Generator().manual_seed(1)

    def draw() -> tuple[Tensor, Tensor]:
        a, b = torch.randn(2, 1, 1000, 1, generator=source)
        return a, 0.8 + 0.7 * b

    learnt(objective, draw)
    z = torch.linspace(-0.8, 2.0, 57)[:, None]
    exact = -0.5 * z**2 + 0.5 * ((z - 0.8) / 0.7) ** 2 + math.log(0.7)
    found = objective.ratio(z[None])[0].detach()
    assert (found - exact[:, 0]).abs().mean() < 0.15
    assert exact.max() - exact.min() > 1.5


def test_the_critic_learns_the_total_correlation() -> None:
    """Two dimensions of correlation 0.8: TC = -1/2 log det R = 0.51 nats, within 0.06."""
    objective, source = Factor(2, width=32, layers=2), torch.Generator().manual_seed(1)
    R = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    L = torch.linalg.cholesky(R)

    def draw(n: int = 1000) -> tuple[Tensor, Tensor]:
        z = torch.randn(1, n, 2, generator=source) @ L.T
        return z, permuted(z, noise(int(torch.randint(2**30, (), generator=source))))

    learnt(objective, draw)
    exact = -0.5 * torch.logdet(R).item()
    assert abs(objective.ratio(draw(20_000)[0]).mean().item() - exact) < 0.06
    assert exact > 0.5


def test_the_logistic_loss_is_stable() -> None:
    big = torch.tensor([200.0, -200.0])
    assert torch.isfinite(F.softplus(big)).all()
    objective = Factor(1, layers=0)
    with torch.no_grad():
        objective.critic.layers[0].weight.fill_(1e6)
    loss = objective.learn(-torch.ones(1, 3, 1), torch.ones(1, 3, 1))
    assert torch.isfinite(loss).all()
    assert loss.min() > 1e6


def test_impossible_arguments_are_refused() -> None:
    for make in (lambda: Factor(0), lambda: Factor(2, gamma=-1.0), lambda: Adversarial(2, width=0)):
        with pytest.raises(UsageError, match=r"is .*, expected at least"):
            make()
