"""KL(q || p) by pair of types: torch's table, scipy's log-densities and sampling, per dimension."""

from __future__ import annotations

import math
from collections.abc import Callable

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


def full(rows: int) -> D.MultivariateNormal:
    tril = torch.tril(t(rows, DIM, DIM), -1) + torch.diag_embed(t(rows, DIM, low=0.2))
    return D.MultivariateNormal(t(rows, DIM), scale_tril=tril)


def each(family: type, *low: float) -> Callable[[int | None], Independent]:
    """The family with random parameters above these, for each of DIM entries of one row or of ROWS."""
    return lambda rows: Independent(family(*[t(*([rows] if rows else []), DIM, low=at) for at in low]), 1)


def logits(family: type, *event: int) -> Callable[[int | None], Independent]:
    return lambda rows: Independent(family(logits=t(*([rows] if rows else []), DIM, *event)), 1)


def unit(rows: int | None) -> Independent:
    return normal(torch.zeros(DIM, dtype=F64), torch.ones(DIM, dtype=F64))


gauss, laplace = each(Normal, -2, 0.2), each(D.Laplace, -2, 0.2)
gamma, beta = each(D.Gamma, 0.7, 0.7), each(D.Beta, 0.7, 0.7)
bernoulli, categorical = logits(D.Bernoulli), logits(D.Categorical, 7)

# name -> (q, p, whether p has rows of its own, numbers per row). A new closed form is one line.
TABLE = {
    "normal, unit": (gauss, unit, False, DIM),
    "normal, normal": (gauss, gauss, False, DIM),
    "normal, normal of the row": (gauss, gauss, True, DIM),
    "full, unit": (full, unit, False, 1),
    "full, normal": (full, each(Normal, -2, 0.3), False, 1),
    "full, full": (full, full, True, 1),
    "laplace, normal": (laplace, each(Normal, -2, 0.9), False, DIM),
    "laplace, laplace": (laplace, laplace, False, DIM),
    "gamma, gamma": (gamma, gamma, False, DIM),
    "beta, beta": (beta, beta, False, DIM),
    "bernoulli, bernoulli": (bernoulli, bernoulli, False, DIM),
    "categorical, categorical": (categorical, categorical, False, DIM),
    "dirichlet, dirichlet": (lambda rows: D.Dirichlet(t(rows, DIM, low=0.7)),) * 2 + (True, 1),
}


def pair(name: str) -> tuple[D.Distribution, D.Distribution, int]:
    q, p, of_the_row, size = TABLE[name]
    return q(ROWS), p(ROWS if of_the_row else None), size


@pytest.mark.parametrize("name", TABLE)
def test_closed_form_agrees_with_sampling(name: str) -> None:
    q, p, size = pair(name)
    kl = closed_form_kl(q, p)
    assert kl.shape == (ROWS, size)
    assert (kl > 0).all()
    z = draw(q, 100_003, noise())
    within(q.log_prob(z) - p.log_prob(z), kl.sum(-1))
    if not isinstance(q, Independent) or "full" in name:
        return
    within(q.base_dist.log_prob(z) - p.base_dist.log_prob(z), kl)  # per dimension, not only in sum


@pytest.mark.parametrize("name", TABLE)
def test_it_is_zero_for_equals_and_not_symmetric(name: str) -> None:
    q, p, _ = pair(name)
    own = closed_form_kl(q, q)
    assert own.abs().max() < 1e-14
    if type(getattr(q, "base_dist", q)) is type(getattr(p, "base_dist", p)):
        assert (closed_form_kl(q, p).sum(-1) - closed_form_kl(p.expand((ROWS,)), q).sum(-1)).abs().min() > 1e-4


@pytest.mark.parametrize("name", [n for n in TABLE if n.startswith(("normal", "full"))])
def test_gaussian_pairs_against_numpy_and_torch(name: str) -> None:
    q, p, size = pair(name)
    kl = closed_form_kl(q, p)

    def moments(d: D.Distribution, row: int) -> tuple[np.ndarray, np.ndarray]:
        d = d.expand((ROWS,))
        S = d.covariance_matrix[row] if isinstance(d, D.MultivariateNormal) else torch.diag(d.variance[row])
        return d.mean[[row]].double().numpy(), S.double().numpy()

    for row in range(ROWS):
        (m, S), (m_p, S_p) = moments(q, row), moments(p, row)
        close(kl[row].sum(), gaussian_kl(m, S, m_p, S_p)[0])
        if size == DIM:
            one_by_one = [gaussian_kl(m[:, [i]], S[[i]][:, [i]], m_p[:, [i]], S_p[[i]][:, [i]])[0] for i in range(DIM)]
            close(kl[row], np.array(one_by_one))
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


@pytest.mark.parametrize("name", TABLE)
def test_held_keeps_the_density_and_stops_the_gradient(name: str) -> None:
    q, _, _ = pair(name)
    learn(q)
    z = draw(q, 2, noise()).detach()
    close(held(q).log_prob(z), q.log_prob(z))
    assert not held(q).log_prob(z).requires_grad
    assert q.log_prob(z).requires_grad
