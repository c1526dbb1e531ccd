"""What every likelihood owes, over a table of all of them: a new family, or a new option, is one line."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from oracles import F64, assign, close, noise, within
from vaelab import likelihoods
from vaelab.distributions import DiscretizedLogistic, draw, entries
from vaelab.errors import UsageError
from vaelab.models import Terms
from vaelab.models.vae import centre
from vaelab.networks import MLP, Linear
from vaelab.noise import Given

K, B, Z = 2, 7, 3
GRID = {2: [0.0, 1.0], 17: np.linspace(-4, 12, 17), 256: np.linspace(0, 1, 256)}


def logistic_bins(bins: int, scale: str) -> tuple[type, dict[str, Any], Any]:
    low, high = (-4.0, 12.0) if bins == 17 else (0.0, 1.0)
    return likelihoods.DiscretizedLogistic, {"bins": bins, "low": low, "high": high, "scale": scale}, GRID[bins]


# name -> (class, arguments besides network and shape, the support of one entry: its values, or None for the real line)
LIKELIHOODS = {
    "bernoulli": (likelihoods.Bernoulli, {}, [0.0, 1.0]),
    "categorical, 2": (likelihoods.Categorical, {"categories": 2}, [0.0, 1.0]),
    "categorical, 5": (likelihoods.Categorical, {"categories": 5}, range(5)),
    "gaussian, fixed": (likelihoods.Gaussian, {"scale": 0.3}, None),
    "gaussian, shared": (likelihoods.Gaussian, {"scale": "shared"}, None),
    "gaussian, entry": (likelihoods.Gaussian, {"scale": "entry"}, None),
    "gaussian, network": (likelihoods.Gaussian, {"scale": "network"}, None),
    "gaussian, optimal": (likelihoods.Gaussian, {"scale": "optimal"}, None),
    "logistic 2, network": logistic_bins(2, "network"),
    "logistic 17, network": logistic_bins(17, "network"),
    "logistic 17, entry": logistic_bins(17, "entry"),
    "logistic 256, network": logistic_bins(256, "network"),
    "logistic 256, shared": logistic_bins(256, "shared"),
}
SHAPES = [(5,), (1, 2, 3)]


class Constant(nn.Module):
    """A network whose output is its weight, whatever the input: puts a likelihood at any parameter."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.value.expand(*z.shape[:-1], *self.value.shape)


def build(name: str, shape: tuple[int, ...], network: Callable[[tuple[int, ...]], nn.Module] | None = None):
    family, arguments, _ = LIKELIHOODS[name]
    outputs = family.outputs(shape, **arguments)
    made = network(outputs) if network else MLP(Z, outputs, (11,), "tanh")
    part = family(made, shape, **arguments).double()
    for parameter_name, parameter in part.named_parameters():
        if parameter_name == "log_scale":
            assign(parameter, 0.3 * np.random.default_rng(3).normal(size=parameter.shape))
    if getattr(part, "updates", False):
        part.variance.fill_(0.7)
    return part


def some_x(name: str, shape: tuple[int, ...], *lead: int) -> Tensor:
    support = LIKELIHOODS[name][2]
    if support is None:
        return torch.randn(*lead, *shape, dtype=F64)
    values = torch.as_tensor(np.array(support, float))
    return values[torch.randint(len(values), (*lead, *shape))]


def test_the_table_names_every_likelihood() -> None:
    all_of_them = {getattr(likelihoods, n) for n in likelihoods.__all__} - {likelihoods.Likelihood}
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
        if support is None:
            place = stats.norm(single.loc[0, i].item(), single.scale.expand(1, 5)[0, i].item()).cdf(np.sort(x[:, i]))
            gap = np.abs(place - (np.arange(n) + 0.5) / n).max()
            assert gap < math.sqrt(math.log(2e6) / (2 * n))
            continue
        values = np.array(support, float)
        mass = (
            torch.stack([single.log_prob(torch.full((1, 5), v, dtype=F64)) for v in values])[:, 0, i]
            .exp()
            .detach()
            .numpy()
        )
        seen = np.array([(np.abs(x[:, i].numpy() - v) < 1e-9).sum() for v in values])
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
    if family is likelihoods.Categorical:  # names have no mean: the most probable one stands for them
        close(centre(d), entries(d).logits.argmax(-1))
        return
    if support is not None:
        values = torch.as_tensor(np.array(support, float))
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


@pytest.mark.parametrize("name", [n for n in LIKELIHOODS if "network" in n or "shared" in n])
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
