"""What every likelihood owes, over a table of all of them: a new family, or a new option, is one line."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor, nn

from likelihood_table import LIKELIHOODS, MOST, SHAPES, B, Constant, K, Z, build, some_x
from oracles import F64, assign, close, noise, within
from vaelab import likelihoods
from vaelab.distributions import DiscretizedLogistic, draw, entries
from vaelab.errors import UsageError
from vaelab.models import Terms
from vaelab.models.vae import centre
from vaelab.networks import MLP, Linear
from vaelab.noise import Given


def test_the_table_names_every_likelihood() -> None:
    all_of_them = {getattr(likelihoods, n) for n in likelihoods.__all__} - {likelihoods.Likelihood}
    all_of_them -= {likelihoods.Columns}  # made of the others: tests/test_columns.py
    all_of_them -= {likelihoods.AutoregressiveBernoulli}  # of images alone: tests/test_autoregressive.py
    all_of_them -= {likelihoods.GaussianMixture}  # of mixed tables, with spikes: tests/test_tables.py
    assert {row[0] for row in LIKELIHOODS.values()} == all_of_them
    for family in all_of_them:
        assert inspect.signature(family).parameters["network"]
        assert isinstance(family.discrete, bool)
        assert family.normalized


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("raw", [0.0, 0.7, -3.0, 40.0, -1e3, 1e6])
def test_masses_sum_and_densities_integrate_to_one(name: str, raw: float) -> None:
    """Over a grid of what the network may say, extremes included."""
    support = LIKELIHOODS[name][2]
    rng = np.random.default_rng(2)
    part = build(name, (), lambda out: Constant(torch.as_tensor(raw * rng.uniform(0.3, 1, size=out))))
    d = part(torch.zeros(1, Z, dtype=F64))
    if isinstance(support, str):
        assert total_mass(d, support, raw) == pytest.approx(1, abs=1e-8)
        return
    if support is not None:
        total = torch.stack([d.log_prob(torch.tensor([float(v)], dtype=F64)) for v in support]).exp().sum(0)
        close(total, torch.ones(1), rel=1e-9)
        return
    u = torch.linspace(-12, 12, 2001, dtype=F64)
    grid = d.mean + d.stddev * u
    each = d.stddev.item() * torch.exp(torch.stack([d.log_prob(x.reshape(1)) for x in grid])).squeeze(1)
    # where the mean is far from 0, a grid value is rounded by up to its half ulp, in units of the deviation:
    ulp = abs(d.mean.item()) * 2.3e-16 / d.stddev.item()
    close(torch.trapezoid(each, u), 1.0, rel=1e-9 + 12 * ulp)


def total_mass(d: Any, support: str, raw: float) -> float:
    """Return the sum over counts, or the integral over an interval or the line, each side by itself."""
    if support == "counts":
        if abs(raw) > 4:  # some of these tails are longer than can be summed; test_counts_against_scipy has them
            return 1.0
        return d.log_prob(torch.arange(0.0, 100_000, dtype=F64)).exp().sum().item()

    def density(x: float) -> float:
        return d.log_prob(torch.tensor([x], dtype=F64)).exp().item()

    if support == "unit":
        layer = min(0.3, 40 / max(1.0, entries(d).logits.abs().item()))
        cuts = [0.0, layer, 1 - layer, 1.0]
        return sum(integrate.quad(density, a, b, epsabs=1e-11)[0] for a, b in pairwise(cuts))
    loc, scale = entries(d).loc.item(), entries(d).scale.expand(1).item()
    if abs(loc) > 1e3 * scale:  # the place of the law is nothing to the sum, but costs digits
        entries(d).loc, loc = torch.zeros(1, dtype=F64), 0.0
    right = integrate.quad(lambda u: scale * density(loc + scale * u), 0, np.inf, epsabs=1e-11)[0]
    return right + integrate.quad(lambda u: scale * density(loc - scale * u), 0, np.inf, epsabs=1e-11)[0]


@pytest.mark.parametrize("bins", [2, 17, 256])
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 0.1, 3.0, 1e4])
def test_discretised_logistic_against_differences_of_the_cdf(bins: int, scale: float) -> None:
    for low, high in ((0.0, 1.0), (-4.0, 12.0)):
        step = (high - low) / (bins - 1)
        x = low + step * np.arange(bins)
        for loc in (low, 0.3 * low + 0.7 * high + 0.1 * step, high, high + 3 * step, low - 40 * step):
            d = DiscretizedLogistic(
                torch.tensor(loc, dtype=F64), torch.tensor(scale, dtype=F64), low=low, high=high, bins=bins
            )
            log = d.log_prob(torch.as_tensor(x))
            assert torch.isfinite(log).all()
            assert log.exp().sum().item() == pytest.approx(1, abs=1e-9)
            edges = np.concatenate([[-np.inf], x[:-1] + step / 2, [np.inf]])
            cdf = stats.logistic(loc, scale).cdf(edges)
            sf = stats.logistic(loc, scale).sf(edges)
            mass = np.where(edges[:-1] > loc, sf[:-1] - sf[1:], cdf[1:] - cdf[:-1])
            close(log.exp(), mass, rel=1e-9)
            assert d.mean.item() == pytest.approx((mass * x).sum(), rel=1e-9, abs=1e-9 * max(1, abs(low)))


def test_discretised_logistic_far_tails_keep_their_slope() -> None:
    """log P = -distance / scale to rounding where differences of float64 cdfs would be 0."""
    loc = torch.tensor(0.0, dtype=F64, requires_grad=True)
    scale = torch.tensor(1e-3, dtype=F64)
    log = DiscretizedLogistic(loc, scale, bins=256).log_prob(torch.tensor(200 / 255, dtype=F64))
    h = 0.5 / 255
    assert log.item() == pytest.approx(-(200 / 255 - h) / 1e-3 + math.log(-math.expm1(-2 * h / 1e-3)), rel=1e-12)
    (slope,) = torch.autograd.grad(log, loc)
    assert slope.item() == pytest.approx(1e3, rel=1e-9)


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("shape", SHAPES)
def test_entries_sum_to_the_joint(name: str, shape: tuple[int, ...]) -> None:
    z = torch.randn(K, B, Z, dtype=F64)
    x = some_x(name, shape, B)
    part = build(name, shape)
    d = part(z)
    assert d.batch_shape == (K, B)
    assert d.event_shape == shape
    each = entries(d).log_prob(x)
    assert each.shape == (K, B, *shape)
    close(each.flatten(2).sum(2), d.log_prob(x))
    for k in range(K):  # and each row is a function of its own z alone
        for b in range(B):
            close(part(z[k : k + 1, b : b + 1]).log_prob(x[b : b + 1])[0, 0], d.log_prob(x)[k, b])


def distribution_function(single: Any, i: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return scipy's distribution function of entry i."""
    if hasattr(single, "logits"):
        t = single.logits[0, i].item()
        return lambda x: np.expm1(t * x) / np.expm1(t)
    loc, scale = single.loc[0, i].item(), single.scale.expand(1, 5)[0, i].item()
    if hasattr(single, "df"):
        return stats.t(single.df.expand(1, 5)[0, i].item(), loc, scale).cdf
    family = {torch.distributions.Normal: stats.norm, torch.distributions.Laplace: stats.laplace}[type(single)]
    return family(loc, scale).cdf


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_draws_agree_with_the_density(name: str) -> None:
    """Chi-square over the support, or the DKW band around the distribution function, at 1e-6."""
    support = LIKELIHOODS[name][2]
    d = build(name, (5,))(torch.randn(1, Z, dtype=F64))
    n = 20_011
    x = draw(d, n, noise(4))[:, 0].detach().double()
    assert x.shape == (n, 5)
    single = entries(d)
    for i in range(5):
        if support in (None, "line", "unit"):
            place = distribution_function(single, i)(np.sort(x[:, i]))
            gap = np.abs(place - (np.arange(n) + 0.5) / n).max()
            assert gap < math.sqrt(math.log(2e6) / (2 * n))
            continue
        values = np.arange(MOST, dtype=float) if support == "counts" else np.array(support, float)
        every = torch.as_tensor(values)[:, None, None].expand(-1, 1, 5)
        mass = single.log_prob(every)[:, 0, i].exp().detach().numpy()
        step = values[1] - values[0]
        place = (x[:, i].numpy() - values[0]) / step
        assert np.abs(place - place.round()).max() < 1e-9
        seen = np.bincount(place.round().astype(int), minlength=len(values))
        assert seen.sum() == n  # every draw lies on the grid
        few = mass * n < 10
        seen, expected = np.append(seen[~few], seen[few].sum()), np.append(mass[~few], mass[few].sum()) * n
        keep = expected > 1e-6
        if keep.sum() > 1:
            scaled = expected[keep] * seen[keep].sum() / expected[keep].sum()
            assert stats.chisquare(seen[keep], scaled).pvalue > 1e-6


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_mean_is_the_expectation(name: str) -> None:
    family, _, support = LIKELIHOODS[name]
    d = build(name, (5,))(torch.randn(K, B, Z, dtype=F64))
    if family in (
        likelihoods.Categorical,
        likelihoods.LowRankCategorical,
    ):  # names have no mean: the most probable one stands for them
        every = [entries(d).log_prob(torch.full((K, B, 5), float(k), dtype=F64)) for k in support]
        close(centre(d), torch.stack(every).argmax(0))
        return
    if support == "unit":
        nodes, weights = (torch.as_tensor(a) for a in np.polynomial.legendre.leggauss(64))
        x = (nodes + 1) / 2
        each = torch.stack([entries(d).log_prob(v.expand(K, B, 5)).exp() for v in x])
        close(centre(d), torch.einsum("v,v...->...", weights / 2 * x, each), rel=1e-9)
        return
    if support == "line":  # symmetric about its centre
        u = torch.randn(K, B, 5, dtype=F64)
        single = entries(d)
        close(single.log_prob(centre(d) + u), single.log_prob(centre(d) - u))
        return
    if support is not None:
        values = torch.arange(600.0, dtype=F64) if support == "counts" else torch.as_tensor(np.array(support, float))
        mass = torch.stack([entries(d).log_prob(v.expand(K, B, 5)) for v in values]).exp()
        close(centre(d), torch.einsum("v...,v->...", mass, values), rel=1e-9)
        return
    u = torch.linspace(-12, 12, 2001, dtype=F64).reshape(-1, 1, 1, 1)
    x = d.mean + d.stddev * u
    each = entries(d).log_prob(x).exp() * x * d.stddev
    close(centre(d), torch.trapezoid(each, u.expand_as(each), dim=0), rel=1e-9)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_gradient_of_the_log_density(name: str) -> None:
    x, z = some_x(name, (5,), B), torch.randn(1, Z, dtype=F64)
    part = build(name, (5,), lambda out: Constant(torch.randn(*out, dtype=F64)))
    names, values = zip(*part.named_parameters())

    def log_p(*parameters: Tensor) -> Tensor:
        d = torch.func.functional_call(part, dict(zip(names, parameters)), (z,))
        return d.log_prob(x)

    assert torch.autograd.gradcheck(log_p, values)


@pytest.mark.parametrize("raw", [40.0, -40.0, 800.0])
def test_a_saturated_bernoulli_keeps_its_gradient(raw: float) -> None:
    part = build("bernoulli", (), lambda out: Constant(torch.tensor(raw, dtype=F64)))
    x = torch.tensor([float(raw < 0)], dtype=F64)
    log = part(torch.zeros(1, Z, dtype=F64)).log_prob(x)
    assert log.item() == pytest.approx(-abs(raw), rel=1e-12)
    (slope,) = torch.autograd.grad(log.sum(), part.network.value)
    assert slope.item() == pytest.approx(-math.copysign(1, raw), rel=1e-12)


@pytest.mark.parametrize(
    "name", [n for n in LIKELIHOODS if ("network" in n or "shared" in n) and LIKELIHOODS[n][2] != "counts"]
)
@pytest.mark.parametrize("raw", [1e6, -1e6])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_scales_stay_finite_and_alive(name: str, raw: float, dtype: torch.dtype) -> None:
    if "network" in name:
        part = build(
            name, (5,), lambda out: Constant(torch.tensor([0.1, raw], dtype=F64)[:, None].expand(2, 5).clone())
        )
        parameter = part.network.value
    else:
        part = build(name, (5,))
        assign(part.log_scale, raw)
        parameter = part.log_scale
    part = part.to(dtype)
    d = part(torch.zeros(1, Z, dtype=dtype))
    scale = entries(d).scale
    assert torch.isfinite(scale).all()
    assert (scale > 0).all()
    (slope,) = torch.autograd.grad(scale.sum(), parameter)
    assert (slope.flatten()[-1] > 0).all()
    assert torch.isfinite(d.log_prob(some_x(name, (5,), 1).to(dtype))).all()


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_network_of_the_wrong_shape_is_refused_with_both(name: str) -> None:
    part = build(name, (5,), lambda out: Linear(Z, (4, 13)))
    with pytest.raises(UsageError) as refused:
        part(torch.zeros(K, B, Z, dtype=F64))
    family, arguments, _ = LIKELIHOODS[name]
    needed = (K, B, *family.outputs((5,), **arguments))
    assert str((K, B, 4, 13)) in str(refused.value)
    assert str(needed) in str(refused.value)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda n: likelihoods.Gaussian(n, (5,), scale="none"), "scale"),
        (lambda n: likelihoods.Gaussian(n, (5,), scale=0.0), "positive"),
        (lambda n: likelihoods.Gaussian(n, (5,), scale=math.nan), "positive"),
        (lambda n: likelihoods.Gaussian(n, (5,), scale="optimal", momentum=0.0), "momentum"),
        (lambda n: likelihoods.Laplace(n, (5,), scale="optimal"), "scale"),
        (lambda n: likelihoods.Laplace(n, (5,), scale=-1.0), "positive"),
        (lambda n: likelihoods.StudentT(n, (5,), df="network"), "df"),
        (lambda n: likelihoods.StudentT(n, (5,), df=0.0), "df"),
        (lambda n: likelihoods.NegativeBinomial(n, (5,), dispersion="each"), "dispersion"),
        (lambda n: likelihoods.LogisticMixture(n, (5,), components=0), "components"),
        (lambda n: likelihoods.DiscretizedLogistic(n, (5,), bins=1), "bins"),
        (lambda n: likelihoods.DiscretizedLogistic(n, (5,), low=1.0, high=1.0), "high > low"),
        (lambda n: likelihoods.DiscretizedLogistic(n, (5,), scale="optimal"), "scale"),
    ],
)
def test_impossible_arguments_are_refused(make: Callable[[nn.Module], Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        make(Linear(Z, 5))


def optimal_terms(observed: Tensor | None = None) -> tuple[Any, Terms, Tensor]:
    part = likelihoods.Gaussian(MLP(Z, 5, (11,), "tanh"), (5,), scale="optimal", momentum=1.0).double()
    z, x = torch.randn(K, B, Z, dtype=F64), torch.randn(B, 5, dtype=F64)
    unread = torch.distributions.Normal(0.0, 1.0)
    return part, Terms(x, z, unread, unread, part(z), observed), x


def test_the_optimal_variance_is_the_mean_squared_error() -> None:
    part, terms, x = optimal_terms()
    mse = ((x - terms.px.mean) ** 2).mean().item()
    part.update(terms)
    assert part.variance.item() == pytest.approx(mse, rel=1e-12)
    best = part(terms.z).log_prob(x).mean().item()
    assert best == pytest.approx(-5 / 2 * (math.log(2 * math.pi * mse) + 1), rel=1e-12)
    for factor in (0.99, 1.01):  # and it is the maximum
        part.variance.fill_(mse * factor)
        assert part(terms.z).log_prob(x).mean().item() < best


def test_the_optimal_variance_moves_by_its_momentum_over_observed_entries() -> None:
    observed = torch.rand(B, 5) < 0.6
    part, terms, x = optimal_terms(observed)
    part.momentum = 0.25
    square = ((x - terms.px.mean) ** 2)[:, observed].mean().item()
    part.update(terms)
    assert part.variance.item() == pytest.approx(0.75 * 1.0 + 0.25 * square, rel=1e-12)


def test_a_batch_without_observed_entries_leaves_the_optimal_variance() -> None:
    part, terms, _ = optimal_terms(torch.zeros(B, 5, dtype=torch.bool))
    part.update(terms)
    assert part.variance.item() == 1.0


def test_gaussian_draws_are_the_formula() -> None:
    d = build("gaussian, network", (5,))(torch.randn(B, Z, dtype=F64))
    eps = torch.randn(K, B, 5, dtype=F64)
    close(draw(d, K, Given([eps])), d.mean + d.stddev * eps)


def test_categories_are_drawn_in_the_order_of_their_number() -> None:
    logits = torch.log(torch.tensor([0.2, 0.5, 0.3], dtype=F64))
    d = torch.distributions.Categorical(logits=logits.expand(4, 3))
    u = torch.tensor([[0.19, 0.21, 0.69, 0.71]], dtype=F64)
    assert draw(d, 1, Given([u])).tolist() == [[0.0, 1.0, 1.0, 2.0]]
    within(draw(d, 20_011, noise()) == 2, np.full(4, 0.3))
