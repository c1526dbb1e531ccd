"""KL(q || p) by pair of types: torch's table, scipy's log-densities and sampling, per dimension."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions as D
from torch.distributions import Independent, Normal

from oracles import F64, close, gaussian_kl, noise, within
from vaelab.distributions import PointMass, closed_form_kl, draw, held
from vaelab.distributions.kl import register_kl

ROWS, DIM = 5, 3


def t(*shape: int, low: float = -2.0, high: float = 2.0) -> torch.Tensor:
    return low + (high - low) * torch.rand(*shape, dtype=F64)


def normal(loc: torch.Tensor, scale: torch.Tensor) -> Independent:
    return Independent(Normal(loc, scale), 1)


def full(rows: int, dim: int) -> D.MultivariateNormal:
    tril = torch.tril(t(rows, dim, dim), -1) + torch.diag_embed(t(rows, dim, low=0.2))
    return D.MultivariateNormal(t(rows, dim), scale_tril=tril)


# name -> (q over ROWS rows, p, numbers per row). A new closed form is one line.
PAIRS = {
    "normal, unit": lambda: (normal(t(ROWS, DIM), t(ROWS, DIM, low=0.2)), normal(torch.zeros(DIM), torch.ones(DIM)), DIM),
    "normal, normal": lambda: (normal(t(ROWS, DIM), t(ROWS, DIM, low=0.2)), normal(t(DIM), t(DIM, low=0.3)), DIM),
    "normal, normal of the row": lambda: (normal(t(ROWS, DIM), t(ROWS, DIM, low=0.2)), normal(t(ROWS, DIM), t(ROWS, DIM, low=0.3)), DIM),
    "full, unit": lambda: (full(ROWS, DIM), normal(torch.zeros(DIM, dtype=F64), torch.ones(DIM, dtype=F64)), 1),
    "full, normal": lambda: (full(ROWS, DIM), normal(t(DIM), t(DIM, low=0.3)), 1),
    "full, full": lambda: (full(ROWS, DIM), full(ROWS, DIM), 1),
    "laplace, normal": lambda: (Independent(D.Laplace(t(ROWS, DIM), t(ROWS, DIM, low=0.2)), 1), normal(t(DIM), t(DIM, low=0.9)), DIM),
    "laplace, laplace": lambda: (Independent(D.Laplace(t(ROWS, DIM), t(ROWS, DIM, low=0.2)), 1), Independent(D.Laplace(t(DIM), t(DIM, low=0.3)), 1), DIM),
    "gamma, gamma": lambda: (Independent(D.Gamma(t(ROWS, DIM, low=0.7), t(ROWS, DIM, low=0.7)), 1), Independent(D.Gamma(t(DIM, low=0.7), t(DIM, low=0.7)), 1), DIM),
    "beta, beta": lambda: (Independent(D.Beta(t(ROWS, DIM, low=0.7), t(ROWS, DIM, low=0.7)), 1), Independent(D.Beta(t(DIM, low=0.7), t(DIM, low=0.7)), 1), DIM),
    "bernoulli, bernoulli": lambda: (Independent(D.Bernoulli(logits=t(ROWS, DIM)), 1), Independent(D.Bernoulli(logits=t(DIM)), 1), DIM),
    "categorical, categorical": lambda: (Independent(D.Categorical(logits=t(ROWS, DIM, 7)), 1), Independent(D.Categorical(logits=t(DIM, 7)), 1), DIM),
    "dirichlet, dirichlet": lambda: (D.Dirichlet(t(ROWS, DIM, low=0.7)), D.Dirichlet(t(ROWS, DIM, low=0.7)), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_closed_form_agrees_with_sampling(name: str) -> None:
    q, p, size = PAIRS[name]()
    kl = closed_form_kl(q, p)
    assert kl.shape == (ROWS, size)
    assert (kl > 0).all()
    z = draw(q, 100_003, noise())
    within(q.log_prob(z) - p.log_prob(z), kl.sum(-1))
    if not isinstance(q, Independent) or "full" in name:
        return
    each = q.base_dist.log_prob(z) - p.base_dist.log_prob(z)  # per dimension, not only in sum
    within(each, kl)


@pytest.mark.parametrize("name", PAIRS)
def test_it_is_zero_for_equals_and_not_symmetric(name: str) -> None:
    q, p, _ = PAIRS[name]()
    own = closed_form_kl(q, q)
    assert own.abs().max() < 1e-14
    if type(getattr(q, "base_dist", q)) is type(getattr(p, "base_dist", p)):
        assert (closed_form_kl(q, p).sum(-1) - closed_form_kl(p.expand((ROWS,)), q).sum(-1)).abs().min() > 1e-4


@pytest.mark.parametrize("name", [n for n in PAIRS if n.startswith(("normal", "full"))])
def test_gaussian_pairs_against_numpy_and_torch(name: str) -> None:
    q, p, size = PAIRS[name]()
    kl = closed_form_kl(q, p)

    def moments(d: D.Distribution, row: int) -> tuple[np.ndarray, np.ndarray]:
        d = d.expand((ROWS,))
        S = d.covariance_matrix[row] if isinstance(d, D.MultivariateNormal) else torch.diag(d.variance[row])
        return d.mean[[row]].double().numpy(), S.double().numpy()

    for row in range(ROWS):
        (m, S), (m_p, S_p) = moments(q, row), moments(p, row)
        close(kl[row].sum(), gaussian_kl(m, S, m_p, S_p)[0])
        if size == DIM:
            each = [gaussian_kl(m[:, [i]], S[[i]][:, [i]], m_p[:, [i]], S_p[[i]][:, [i]])[0] for i in range(DIM)]
            close(kl[row], np.array(each))
    if size == DIM:
        close(kl, D.kl_divergence(q.base_dist, p.base_dist))


@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1.0), (3.0, 1e-5), (-40.0, 22026.0), (1e-8, 1 + 1e-8), (1e6, 4.5e-5)])
def test_extremes_of_the_normal_by_quadrature_or_exact_arithmetic(loc: float, scale: float) -> None:
    q = normal(torch.tensor([[loc]], dtype=F64), torch.tensor([[scale]], dtype=F64))
    p = normal(torch.zeros(1, dtype=F64), torch.ones(1, dtype=F64))
    kl = closed_form_kl(q, p).item()
    from fractions import Fraction

    exact = float((Fraction(scale) ** 2 + Fraction(loc) ** 2 - 1) / 2) - math.log(scale)
    assert kl == pytest.approx(exact, rel=1e-12, abs=2e-16)
    z = loc + scale * np.linspace(-12, 12, 4001)
    log_q, log_p = stats.norm(loc, scale).logpdf(z), stats.norm.logpdf(z)
    assert kl == pytest.approx(np.trapezoid(np.exp(log_q) * (log_q - log_p), z), rel=1e-9, abs=1e-13)
    assert math.isfinite(
        closed_form_kl(
            normal(torch.tensor([[loc]]), torch.tensor([[scale]])), normal(torch.zeros(1), torch.ones(1))
        ).item()
    )


def test_unregistered_pairs_and_point_masses_are_none() -> None:
    mixture = D.MixtureSameFamily(D.Categorical(torch.ones(2)), normal(t(2, DIM), t(2, DIM, low=0.2)))
    assert closed_form_kl(normal(t(ROWS, DIM), t(ROWS, DIM, low=0.2)), mixture) is None
    assert closed_form_kl(PointMass(t(ROWS, DIM)), normal(t(DIM), t(DIM, low=0.2))) is None


def test_a_registered_pair_goes_before_torch() -> None:
    class Own(Normal):
        pass

    register_kl(Own, Normal)(lambda q, p: q.loc + 41 * p.loc)
    own = Independent(Own(t(ROWS, DIM), torch.ones(ROWS, DIM, dtype=F64)), 1)
    p = normal(torch.ones(DIM, dtype=F64), torch.ones(DIM, dtype=F64))
    close(closed_form_kl(own, p), own.base_dist.loc + 41)


def learn(d: D.Distribution) -> None:
    for key, value in list(vars(d).items()):
        if isinstance(value, torch.Tensor):
            setattr(d, key, value.clone().requires_grad_(True))
        elif isinstance(value, D.Distribution):
            learn(value)


@pytest.mark.parametrize("name", PAIRS)
def test_held_keeps_the_density_and_stops_the_gradient(name: str) -> None:
    q, _, _ = PAIRS[name]()
    learn(q)
    z = draw(q, 2, noise()).detach()
    close(held(q).log_prob(z), q.log_prob(z))
    assert not held(q).log_prob(z).requires_grad
    assert q.log_prob(z).requires_grad
