"""Wake-sleep against enumeration: every wake draw and every dream with its probability."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from discrete import X, Z, coins, enumerated, gradient, outcomes, uniforms
from oracles import F64, close, given, noise
from vaelab.errors import UsageError
from vaelab.networks import MLP
from vaelab.objectives import ReweightedWakeSleep, WakeSleep, iwae
from vaelab.objectives.wake_sleep import dreamt

x = torch.tensor([1.0, 0.0, 1.0], dtype=F64)


def test_awake_p_follows_the_elbo() -> None:
    """E[gradient of the generative loss] = -d sum_z q(z | x) log p(x, z), every parameter of p."""
    model = coins()
    rows, z, fixed = enumerated(x, 1)
    dream = [torch.full((1, 4, Z), 0.5), torch.full((1, 4, X), 0.5)]
    losses, _ = WakeSleep()(model, rows, noise=given(*fixed.tensors, *dream), step=0)
    q = model.posterior(rows).log_prob(z[0]).exp().detach()
    parameters = WakeSleep().owners(model)["generative"]
    assert len(parameters) == len(list(model.likelihood.parameters())) + 1
    exact = -(q * (model.prior().log_prob(z[0]) + model.decode(z[0]).log_prob(x))).sum()
    close(gradient((q * losses["generative"]).sum(), parameters), gradient(exact, parameters))
    log_w = model.terms(rows, noise=given(uniforms(z))).log_w[0]
    close(losses["generative"], -log_w)


def test_asleep_q_follows_the_posterior_at_dreams() -> None:
    """E[gradient of the recognition loss] = -d sum_{z, x} p(z, x) log q(z | x): all 4 times 8 dreams."""
    model = coins()
    both = outcomes(Z + X)
    z, dreams = both[:, :Z], both[:, Z:]
    n = len(both)
    loss = dreamt(model, n, given(uniforms(z)[None], uniforms(dreams)[None]), None, None)
    p = (model.prior().log_prob(z) + model.decode(z).log_prob(dreams)).exp().detach()
    close(p.sum(), 1.0)
    q = model.posterior(dreams).log_prob(z)
    close(loss, -q)
    parameters = list(model.posterior.parameters())
    close(gradient((p * loss).sum(), parameters), gradient(-(p * q).sum(), parameters))
    assert gradient((p * loss).sum(), list(model.likelihood.parameters())).abs().max() == 0


def test_asleep_the_least_loss_is_the_exact_posterior() -> None:
    """A q that knows p(z | x) for every x spends H(z | x) at dreams; any other spends more."""
    model = coins()
    both = outcomes(Z + X)
    z, dreams = both[:, :Z], both[:, Z:]
    joint = (model.prior().log_prob(z) + model.decode(z).log_prob(dreams)).exp().detach()
    evidence = torch.stack([joint[(dreams == d).all(1)].sum() for d in dreams])
    least = -(joint * (joint / evidence).log()).sum()
    loss = dreamt(model, len(both), given(uniforms(z)[None], uniforms(dreams)[None]), None, None)
    assert (joint * loss).sum() > least + 1e-3


def test_dreams_are_masked_as_the_rows_are() -> None:
    model = coins()
    seen = torch.tensor([[True, False, True]]).expand(7, X)
    met = []
    plain = model.posterior.network.forward
    model.posterior.network.forward = lambda x, *c: met.append(x) or plain(x, *c)
    dreamt(model, 7, noise(), seen, None)
    assert (met[0][:, 1] == 0).all()
    assert met[0][:, [0, 2]].any()


@pytest.mark.parametrize("k", [2, 3])
def test_reweighted(k: int) -> None:
    """p has the gradient of the IWAE with z held, q that of sum_k w~_k log q(z_k | x), or at dreams, or the mean."""
    model = coins()
    rows, z, fixed = enumerated(x, k)
    n = len(rows)
    dream = [torch.rand(1, n, Z, dtype=F64), torch.rand(1, n, X, dtype=F64)]
    asleep = dreamt(model, n, given(*dream), None, None)
    t = model.terms(rows, samples=k, noise=given(*fixed.tensors))
    w = (model.prior().log_prob(z) + model.decode(z).log_prob(x) - model.posterior(rows).log_prob(z)).exp().detach()
    awake = -(w / w.sum(0) * model.posterior(rows).log_prob(z)).sum(0)
    generative, recognition = (ReweightedWakeSleep(k).owners(model)[o] for o in ("generative", "recognition"))
    for phase, loss in (("wake", awake), ("sleep", asleep), ("both", (awake + asleep) / 2)):
        losses, _ = ReweightedWakeSleep(k, phase)(model, rows, noise=given(*fixed.tensors, *dream), step=0)
        close(losses["recognition"], loss)
        close(gradient(losses["recognition"].sum(), recognition), gradient(loss.sum(), recognition))
        close(losses["generative"], -iwae(t))
        close(gradient(losses["generative"].sum(), generative), gradient(-iwae(t).sum(), generative))


def test_what_cannot_dream_is_refused() -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.posterior = MLP(X, Z)

        def terms(self, x, **how):
            raise AssertionError

        def generate(self, n, **how):
            raise AssertionError

    with pytest.raises(UsageError, match="WakeSleep needs a VAE, whose p and q are apart; got Other"):
        WakeSleep()(Other(), x[None], noise=noise(), step=0)
    with pytest.raises(UsageError, match="recognition must be 'wake', 'sleep' or 'both', got 'dream'"):
        ReweightedWakeSleep(recognition="dream")
