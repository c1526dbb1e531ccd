"""Flows: log-densities by numerical Jacobians, inverses, held parameters, the exact evidence, the gap that closes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from linear_posteriors import TRUTH, diagonal_gap, gap, linear_model, relative_weights, train_posterior
from oracles import F64, Given, close, noise, rows, tensor, within
from vaelab import posteriors
from vaelab.distributions import draw, held
from vaelab.distributions.flow import Planar, Radial
from vaelab.errors import UsageError
from vaelab.evaluation import mutual_information
from vaelab.networks import MADE, MLP

KINDS = ("planar", "radial", "iaf", "spline")
B, K, X, Z = 5, 3, 7, 2


def flow(kind: str, dims: int = Z, amortized: bool = True, transforms: int = 3, far: float = 3.0) -> posteriors.Flow:
    arguments = {"kind": kind, "transforms": transforms, "amortized": amortized, "hidden": 11}
    network = MLP(X, posteriors.Flow.outputs(dims, **arguments), (13,), "tanh")
    part = posteriors.Flow(network, dims, **arguments).double()
    with torch.no_grad():
        for name, parameter in part.named_parameters():
            if "network" not in name or "layers.2" in name:
                parameter.mul_(far)  # far enough from the identity to matter
    return part


@pytest.mark.parametrize("amortized", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_log_density_is_the_jacobian_of_the_draw(kind: str, amortized: bool) -> None:
    x, e = torch.randn(B, X, dtype=F64), 1.5 * torch.randn(K, B, Z, dtype=F64)
    q = flow(kind, amortized=amortized)(x)
    z = draw(q, K, Given([e]))
    log_q = q.log_prob(z)
    for k in range(K):
        for b in range(B):

            def at(point: Tensor, b: int = b) -> Tensor:
                return q.push(point.expand(B, Z))[0][b]

            J = torch.autograd.functional.jacobian(at, e[k, b])
            close(log_q[k, b], stats.norm.logpdf(e[k, b]).sum() - torch.linalg.slogdet(J)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_elsewhere_the_density_is_found_by_the_inverse_and_integrates_to_one(kind: str) -> None:
    q = flow(kind, far=1.5)(torch.randn(B, X, dtype=F64))
    z = draw(q, K, noise())
    close(q.log_prob(z.detach().clone()), q.log_prob(z), rel=1e-9)
    # every row against every point, as the mutual information asks
    pairs = q.log_prob(z[0].unsqueeze(1))
    assert pairs.shape == (B, B)
    close(pairs.diagonal(), q.log_prob(z)[0], rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_integrates_to_one(kind: str) -> None:
    """In one dimension, by the trapezoid rule; a radial density has a kink, a spline's slope several."""
    q = flow(kind, dims=1, far=1)(torch.randn(B, X, dtype=F64))
    axis = torch.linspace(-30, 30, 60_001, dtype=F64)
    with torch.no_grad():
        mass = q.log_prob(axis[:, None, None]).exp().sum(0) * (axis[1] - axis[0])
    close(mass, np.ones(B), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_density_elsewhere(kind: str) -> None:
    """The gradient in z and in all parameters, through the inverse, against finite differences."""
    part, x = flow(kind, transforms=2), torch.randn(B, X, dtype=F64)
    z = torch.randn(B, Z, dtype=F64, requires_grad=True)
    out = part.network(x).detach().requires_grad_()

    def f(z: Tensor, out: Tensor) -> Tensor:
        part.parameters_at = lambda given, condition: out  # type: ignore[method-assign]
        return part(x).log_prob(z)

    assert torch.autograd.gradcheck(f, (z, out))


@pytest.mark.parametrize("kind", KINDS)
def test_held_stops_the_parameters_and_not_the_draw(kind: str) -> None:
    part = flow(kind, far=1.5)
    q = part(torch.randn(B, X, dtype=F64))
    z = draw(q, K, noise())
    still = held(q)
    close(still.log_prob(z), q.log_prob(z), rel=1e-9)
    assert not still.log_prob(z.detach()).requires_grad
    # sticking the landing: by the chain rule, the pathwise gradient less that of log q at a fixed z
    whole = torch.autograd.grad(q.log_prob(z).sum(), list(part.parameters()), retain_graph=True, allow_unused=True)
    path = torch.autograd.grad(still.log_prob(z).sum(), list(part.parameters()), retain_graph=True, allow_unused=True)
    score = torch.autograd.grad(q.log_prob(z.detach()).sum(), list(part.parameters()), allow_unused=True)
    zero = torch.zeros((), dtype=F64)
    for a, b, c in zip(whole, path, score):
        close(zero if a is None else a, (zero if b is None else b) + (zero if c is None else c), rel=1e-7, floor=1e-8)


def test_steps_written_out() -> None:
    """One planar and one radial step by scipy-free arithmetic, and their inverses far away."""
    rng = np.random.default_rng(2)
    u, w, centre = rng.normal(size=(3, Z)) * 2
    z = 3 * rng.normal(size=(101, Z))
    y, _ = Planar(tensor(u), tensor(w), tensor([0.4])).forward(tensor(z))
    wu = w @ u
    soft = math.atan(wu * math.pi / 20) * 20 / math.pi
    v = u + (math.log1p(math.exp(soft) * (math.e - 1)) - 1 - wu) * w / (w @ w)
    close(y, z + v * np.tanh(z @ w + 0.4)[:, None])
    y, _ = Radial(tensor(centre), tensor([0.0]), tensor([1.5])).forward(tensor(z))
    soft = math.atan(1.5 * math.pi / 20) * 20 / math.pi
    beta = math.log1p(math.exp(soft) * (math.e - 1)) - 1
    close(y, z + beta * (z - centre) / (1 + np.linalg.norm(z - centre, axis=1))[:, None])
    far = torch.randn(101, Z, dtype=F64) * torch.logspace(-8, 6, 101, dtype=F64)[:, None]
    for raw in (-1e4, -3.0, 0.0, 4.0, 1e4):  # at the edge of what has an inverse
        step = Radial(tensor(centre), tensor([0.3]), tensor([raw]))
        close(step.inverse(step.forward(far)[0]), far, rel=1e-9)
        step = Planar(tensor(u * raw / 100), tensor(w), tensor([0.3]))
        there, log_det = step.forward(far)
        assert torch.isfinite(log_det).all()
        again = step.forward(step.inverse(there))[0]
        close(again, there, rel=1e-9)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dims", [1, 2, 5])
def test_made_reads_what_stands_before(dims: int, reverse: bool) -> None:
    made = MADE(dims, 3, hidden=101, context=2, reverse=reverse).double()
    z, context = torch.randn(dims, dtype=F64), torch.randn(2, dtype=F64)
    J = torch.autograd.functional.jacobian(lambda z: made(z, context), z)
    seen = (J.abs() > 0).any(1)
    before = torch.ones(dims, dims, dtype=torch.bool).triu(1) if reverse else torch.ones(dims, dims).tril(-1).bool()
    assert torch.equal(seen, before)
    C = torch.autograd.functional.jacobian(lambda c: made(z, c), context)
    assert (C.abs() > 0).any(-1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_average_to_the_evidence(kind: str) -> None:
    model = linear_model(posteriors.Flow, kind=kind)
    within(relative_weights(model, TRUTH.sample(3, seed=1)), np.ones(3))


@pytest.mark.parametrize(("kind", "share"), [("planar", 0.75), ("iaf", 0.02), ("spline", 0.02)])
def test_training_closes_the_gap_of_a_correlated_posterior(kind: str, share: float) -> None:
    """Of what the best diagonal Gaussian leaves, an autoregressive flow leaves next to nothing."""
    assert diagonal_gap() > 0.2
    model = linear_model(posteriors.Flow, wide=1.0, kind=kind, transforms=2, amortized=False, hidden=16)
    train_posterior(model, 400)
    value, se = gap(model)
    assert -5 * se < value < share * diagonal_gap() + 5 * se, (value, se, diagonal_gap())


def test_mutual_information_of_a_flow() -> None:
    model = linear_model(posteriors.Flow, kind="iaf")
    information, _, se = mutual_information(model, rows(TRUTH.sample(300, seed=2)))  # type: ignore[misc]
    assert 0.3 < information < math.log(300) + 5 * se


def test_impossible_arguments_and_the_flag_of_torch() -> None:
    for wrong in ({"kind": "sylvester"}, {"transforms": 0}, {"kind": "iaf", "hidden": 0}):
        with pytest.raises(UsageError, match=r"Flow: kind is one of planar, radial, iaf, spline"):
            posteriors.Flow(MLP(X, 4), 2, **wrong)
    before = torch.distributions.Distribution._validate_args
    flow("spline")(torch.zeros(B, X, dtype=F64)).mean  # noqa: B018
    assert torch.distributions.Distribution._validate_args == before
