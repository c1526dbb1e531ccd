"""Exact checks of counts, heavy tails and mixtures of logistics."""

from __future__ import annotations

import itertools
import math

import torch

from exact import check, close, f64, normal
from vaelab import likelihoods
from vaelab.distributions import (
    AutoregressiveBernoulli,
    ContinuousBernoulli,
    LogisticMixture,
    NegativeBinomial,
    StudentT,
    ZeroInflated,
    draw,
)
from vaelab.networks import MLP, Conv, Linear, Typed
from vaelab.noise import Given

COUNTS = torch.arange(3000, dtype=torch.float64)


@check
def counts_sum_to_one_with_their_moments() -> None:
    for mean, shape in ((0.4, 0.7), (3.0, 20.0), (9.0, 1.5)):
        d = NegativeBinomial(f64(mean).log(), f64(shape).log())
        mass = d.log_prob(COUNTS).exp()
        close(mass.sum(), 1.0, 1e-9, f"sum of masses, r = {shape}")
        close((mass * COUNTS).sum(), mean, 1e-8, "mean")
        close((mass * (COUNTS - mean) ** 2).sum(), mean + mean**2 / shape, 1e-7, "variance")
        close(d.variance, mean + mean**2 / shape, what="variance, as it says")


@check
def zero_inflation_by_hand() -> None:
    d = ZeroInflated(torch.distributions.Poisson(f64(2.0)), f64([0.3]).logit())
    close(d.log_prob(f64([0.0])).exp(), f64([0.3 + 0.7 * math.exp(-2)]), what="P(0)")
    close(d.log_prob(f64([2.0])).exp(), f64([0.7 * 2 * math.exp(-2)]), what="P(2)")
    close(d.mean, f64([1.4]), what="mean")
    u = f64([[0.29], [0.31], [0.31]]).reshape(3, 1), f64([[0.99], [0.1], [0.99]])
    close(draw(d, 3, Given(u))[:, 0], f64([0.0, 0.0, 6.0]), what="draws")


@check
def binary_data_begin_at_their_shares() -> None:
    """A perceptron that says 0 gives each entry its share of ones, half a one among one more row."""
    x = f64([[1, 0, 1], [1, 0, 0], [1, 1, 0]])
    part = likelihoods.Bernoulli(MLP(2, (3,), (4,)), (3,)).double()
    last = part.network.layers[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        part.start(x, 3)
    close(part(f64([[0.3, -2.0]])).mean, f64([[3.5, 1.5, 1.5]]) / 4, what="p(x = 1)")
    plain = likelihoods.Bernoulli(MLP(2, (3,), (4,)), (3,), centred=False).double()
    before = plain.network.layers[-1].bias.detach().clone()
    plain.start(x, 3)
    close(plain.network.layers[-1].bias, before, what="weights that were set by hand")


@check
def heavy_tails_against_torch() -> None:
    df, loc, scale, x = f64([0.5, 1.5, 4.0]), f64([0.3, -1.0, 2.0]), f64([1.0, 0.2, 3.0]), f64([[0.1, 1.0, -3.0]])
    mine, theirs = StudentT(df, loc, scale), torch.distributions.StudentT(df, loc, scale)
    close(mine.log_prob(x), theirs.log_prob(x), what="log density")
    assert mine.mean[0].isnan()
    close(mine.mean[1:], loc[1:], what="mean")
    close(mine.expand((7, 3)).log_prob(x), theirs.expand((7, 3)).log_prob(x), what="for more rows")


@check
def parts_of_counts_by_hand() -> None:
    """What the network's numbers mean: log m in units of the mean count, the logit of zero, log 1 / r."""
    x = f64([[0, 4], [2, 8]])
    out = f64([[0.2, -0.4], [0.5, 0.1], [-0.3, 0.6]])
    part = likelihoods.ZeroInflatedNegativeBinomial(Linear(2, (3, 2)), (2,), dispersion="network").double()
    part.start(x, 2)
    with torch.no_grad():
        part.network.map.weight.zero_()
        part.network.map.bias.copy_(out.flatten())
    b = (20 / math.pi) * torch.atan(math.pi / 20 * out)  # bounded to ±10
    m, r = f64([1.0, 6.0]) * b[0].exp(), (-b[2]).exp()
    zero = torch.sigmoid(out[1])
    mass = (
        torch.lgamma(x + r) - torch.lgamma(r) - torch.lgamma(x + 1) + r * (r / (r + m)).log() + x * (m / (r + m)).log()
    )
    truth = (zero * (x == 0) + (1 - zero) * mass.exp()).log().sum(1)
    close(part(torch.zeros(2, 2, dtype=torch.float64)).log_prob(x), truth, what="log P(x | z)")


@check
def shares_integrate_to_one() -> None:
    u = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    for t in (-8.0, 0.015, 3.0):
        d = ContinuousBernoulli(f64(t))
        density = d.log_prob(u).exp()
        close(torch.trapezoid(density, u), 1.0, 1e-7, "integral")
        close(torch.trapezoid(density * u, u), d.mean, 1e-7, "mean")
        middle = torch.cumulative_trapezoid(density, u)
        close(d.icdf(middle[[4000, 15_000]]), u[[4001, 15_001]], 1e-6, "quantiles")


@check
def heavy_tails_by_hand() -> None:
    x, z = normal(7, 5, seed=3), torch.zeros(7, 2, dtype=torch.float64)
    for family, density in (
        (likelihoods.Laplace, lambda u: -u.abs() - math.log(2)),
        (likelihoods.StudentT, lambda u: -3 * (1 + u * u / 5).log() + math.log(8 / (3 * math.pi * math.sqrt(5)))),
    ):
        part = family(Linear(2, (2, 5)), (5,), scale="network").double()
        out = part.network(z)
        scale = ((20 / math.pi) * torch.atan(math.pi / 20 * out[:, 1])).exp()
        close(part(z).log_prob(x), (density((x - out[:, 0]) / scale) - scale.log()).sum(1), what=family.__name__)
    d = torch.distributions.Laplace(f64([0.5]), f64([2.0]))
    close(draw(d, 2, Given([f64([[0.25], [0.75]])])), f64([[0.5 - 2 * math.log(2)], [0.5 + 2 * math.log(2)]]))
    t = torch.distributions.StudentT(f64([4.0]), f64([1.0]), f64([3.0]))
    g = 1.6783469900166605  # the median of Gamma(2)
    close(draw(t, 1, Given([f64([[0.5]]), f64([[0.7]])])), f64([[1 + 3 * 0.7 * math.sqrt(2 / g)]]), what="t")


@check
def colours_by_enumeration() -> None:
    family = likelihoods.LogisticMixture
    part = family(Linear(2, family.outputs((3, 1, 1), components=2)), (3, 1, 1), components=2, bins=4).double()
    d = part(torch.zeros(1, 2, dtype=torch.float64))
    every = f64(list(itertools.product(range(4), repeat=3))).div(3)[:, :, None, None]
    mass = d.log_prob(every).exp()
    close(mass.sum(), 1.0, what="sum of masses")
    raw = part.network.map.bias.detach().reshape(10, 2)
    bounded = (20 / math.pi) * torch.atan(math.pi / 20 * raw[4:7])
    mixed = torch.zeros(64, dtype=torch.float64)
    for m in range(2):
        x = every.flatten(1) - 0.5
        pull = torch.tanh(raw[7:, m])
        loc = [raw[1, m], raw[2, m] + pull[0] * x[:, 0], raw[3, m] + pull[1] * x[:, 0] + pull[2] * x[:, 1]]
        product = torch.softmax(raw[0], 0)[m]
        for c in range(3):
            s = 0.1 * bounded[c, m].exp()
            upper = torch.where(x[:, c] == 0.5, 1.0, torch.sigmoid((x[:, c] + 1 / 6 - loc[c]) / s))
            product = product * (
                upper - torch.where(x[:, c] == -0.5, 0.0, torch.sigmoid((x[:, c] - 1 / 6 - loc[c]) / s))
            )
        mixed = mixed + product
    close(mass, mixed, 1e-9, "masses")


@check
def colours_are_drawn_as_the_masses_say() -> None:
    """The quantiles of a grid of u: each colour's share among them is its mass, to within the grid."""
    d = LogisticMixture(f64([[0.4, -0.2]]), f64([[[0.2, 0.9], [0.7, 0.3]]]), f64([[[0.1, 0.2], [0.15, 0.1]]]),
                        f64([[[0.8, -0.6]]]), pixels=0, bins=3)  # fmt: skip
    steps = (torch.arange(40, dtype=torch.float64) + 0.5) / 40
    u = torch.cartesian_prod(steps, steps, steps)
    x = draw(d, len(u), Given([u[:, None, 0], u[:, None, 1:]]))[:, 0]
    every = torch.cartesian_prod(*[f64([0, 0.5, 1])] * 2)
    share = (x[:, None] == every).all(-1).double().mean(0)
    assert (share - d.log_prob(every).sum(-1).exp()).abs().max() < 0.02, "shares of colours"


@check
def columns_are_the_sum_of_their_parts() -> None:
    kinds = ("poisson", "bernoulli", "poisson", "categorical=3")
    part = likelihoods.Columns(Linear(2, 6), (4,), kinds=kinds).double()
    raw = part.network.map.bias.detach()
    d = part(torch.zeros(1, 2, dtype=torch.float64))
    x = f64([[2, 1, 5, 2]])
    rate = ((20 / math.pi) * torch.atan(math.pi / 20 * raw[:2])).exp()
    poisson = x[0, [0, 2]] * rate.log() - rate - f64([2, 120]).log()
    coin, name = torch.nn.functional.logsigmoid(raw[2]), torch.log_softmax(raw[3:], 0)[2]
    close(d.base_dist.log_prob(x)[0], torch.stack([poisson[0], coin, poisson[1], name]), what="each column")
    read = Typed(torch.nn.Identity(), ("count", "number", "category=3"))
    close(read(f64([[1, 0.5, 2]])), f64([[math.log(2), 1, 0.5, 1, 0, 0, 1]]), what="what the encoder reads")


@check
def an_image_on_its_way_up_by_hand() -> None:
    f = torch.nn.functional
    up = Conv(2, (3, 5, 5, 2), width=4, norm="none", trailing=1).double()
    z = normal(7, 2, seed=4)
    small = f.silu(f.linear(z, up.dense[0].weight, up.dense[0].bias).reshape(7, 4, 3, 3))
    large = f.conv_transpose2d(small, up.stages[0][1].weight, up.stages[0][1].bias, stride=2, padding=1)
    close(up(z), large[:, :, :5, :5].reshape(7, 3, 2, 5, 5).permute(0, 1, 3, 4, 2), what="5x5 pixels")


@check
def images_drawn_pixel_by_pixel_sum_to_one() -> None:
    """Over all images of 2 x 3; and their draws at given thresholds are those that the masses ask for."""
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 6).reshape(-1, 2, 3)
    given, kernel, head = normal(5, 2, 3), 1.5 * normal(5, 12, seed=1), 1.5 * normal(5, seed=2)
    d = AutoregressiveBernoulli(given, kernel, head, f64(0.3), radius=2)
    each = d.log_prob(images)
    close(each.sum((1, 2)).exp().sum(), 1.0, 1e-12, "sum of masses")
    u = 0.5 + 0.4 * torch.tanh(normal(1, 2, 3, seed=3))
    x = draw(d, 1, Given([u]))
    close((u < torch.sigmoid(d.logits(x))).double(), x, what="a draw against the masses of its own pixels")
