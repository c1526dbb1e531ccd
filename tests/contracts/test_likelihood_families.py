"""Counts, heavy tails and mixtures of logistics against scipy, enumeration and their limits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from likelihood_table import Constant
from oracles import F64, close, noise, within
from vaelab import likelihoods
from vaelab.distributions import ContinuousBernoulli, LogisticMixture, NegativeBinomial, ZeroInflated, draw, entries
from vaelab.distributions.counts import gamma_quantile, log_rising, poisson_quantile
from vaelab.errors import UsageError
from vaelab.models import Terms
from vaelab.networks import Linear
from vaelab.noise import Given

K, B, Z = 2, 7, 3
COUNTS = [0, 1, 2, 7, 100, 5_000, 1_000_000]


@pytest.mark.parametrize("mean", [1e-4, 0.3, 5.0, 900.0, 22026.0])
@pytest.mark.parametrize("shape", [5e-5, 0.02, 1.0, 15.9, 16.1, 300.0, 22026.0])
def test_the_negative_binomial_against_scipy(mean: float, shape: float) -> None:
    log_mean, log_shape = torch.tensor(mean, dtype=F64).log(), torch.tensor(shape, dtype=F64).log()
    d = NegativeBinomial(log_mean, log_shape)
    x = np.array(COUNTS)
    ours = d.log_prob(torch.as_tensor(x, dtype=F64))
    close(ours, stats.nbinom(shape, shape / (shape + mean)).logpmf(x), rel=1e-8)
    close(d.variance, stats.nbinom(shape, shape / (shape + mean)).var(), rel=1e-9)
    single = NegativeBinomial(log_mean.float(), log_shape.float()).log_prob(torch.tensor([0.0, 1, 2, 7, 100]))
    close(single.double(), ours[:5], rel=3e-5)  # in float32 log Gamma of 22,026 alone is off by 0.01


def test_the_negative_binomial_tends_to_the_poisson() -> None:
    x = torch.arange(12, dtype=F64)
    near = NegativeBinomial(torch.tensor(3.0, dtype=F64).log(), torch.tensor(1e9, dtype=F64).log()).log_prob(x)
    close(near, stats.poisson(3.0).logpmf(x), rel=1e-7)


def test_log_rising_is_the_sum_of_logarithms() -> None:
    """Gamma(r + 3) / Gamma(r) = r (r + 1) (r + 2), on both sides of where Stirling's series begins."""
    r = torch.tensor([1e-5, 0.7, 15.999, 16.001, 1e4, 1e12], dtype=F64)
    close(log_rising(r, torch.tensor(3.0, dtype=F64)), (r * (r + 1) * (r + 2)).log(), rel=1e-11)
    close(log_rising(r, torch.zeros(())), torch.zeros(6), rel=1e-12)
    assert torch.autograd.gradcheck(lambda r: log_rising(r, torch.tensor(5.0, dtype=F64)), r[1:5].requires_grad_())


@pytest.mark.parametrize("family", ["poisson", "negative-binomial"])
@pytest.mark.parametrize("share", [0.0, 1e-6, 0.4, 1 - 1e-6])
def test_zero_inflation_by_enumeration(family: str, share: float) -> None:
    mean, x = torch.tensor(2.5, dtype=F64), torch.arange(400, dtype=F64)
    law = stats.poisson(2.5) if family == "poisson" else stats.nbinom(1.7, 1.7 / 4.2)
    base = (
        torch.distributions.Poisson(mean)
        if family == "poisson"
        else NegativeBinomial(mean.log(), torch.tensor(1.7, dtype=F64).log())
    )
    d = ZeroInflated(base, torch.logit(torch.tensor(share, dtype=F64), eps=1e-300))
    truth = (1 - share) * law.pmf(x) + share * (x.numpy() == 0)
    close(d.log_prob(x).exp(), truth, rel=1e-10)
    assert d.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-12)
    close(d.mean, (truth * x.numpy()).sum(), rel=1e-10)


def test_quantiles_against_scipy() -> None:
    u = torch.tensor([1e-12, 1e-3, 0.2, 0.5, 0.9, 1 - 1e-9], dtype=F64)
    for rate in (1e-3, 0.7, 30.0, 22026.0):
        close(poisson_quantile(torch.tensor(rate), u), stats.poisson(np.float64(np.float32(rate))).ppf(u))
    for shape in (0.02, 0.7, 30.0, 22026.0):
        truth = stats.gamma(shape).ppf(u)
        seen = truth > 1e-290
        close(gamma_quantile(torch.tensor(shape, dtype=F64), u)[seen], truth[seen], rel=1e-7)


def test_units_of_counts_are_their_means() -> None:
    part = likelihoods.Poisson(Linear(Z, 5), (5,)).double()
    x = torch.tensor([[0.0, 1, 10, 1000, 3], [0, 3, 10, 3000, 3]], dtype=F64)
    part.start(x, 200)
    for parameter in part.network.parameters():
        torch.nn.init.zeros_(parameter)
    close(part(torch.zeros(1, Z, dtype=F64)).mean[0], torch.tensor([0.25, 2, 10, 2000, 3]))


@pytest.mark.parametrize("t", [-1e6, -30.0, -0.021, -0.019, 0.0, 1e-9, 0.019, 0.021, 5.0, 700.0, 1e6])
def test_the_continuous_bernoulli(t: float) -> None:
    """Its normaliser, mean and quantiles, on both sides of where the series begins; the logarithm is taken by hand."""
    logits = torch.tensor(t, dtype=F64, requires_grad=True)
    d = ContinuousBernoulli(logits)
    size = max(abs(t), 1e-300)
    normaliser = max(t, 0.0) + (math.log(-math.expm1(-size) / size) if size > 1e-7 else -size / 2)
    close(d.log_prob(torch.tensor(0.3, dtype=F64)), 0.3 * t - normaliser, rel=1e-11)
    (slope,) = torch.autograd.grad(d.log_prob(torch.tensor(0.3, dtype=F64)), logits)
    close(slope, 0.3 - d.mean.item(), rel=1e-8)  # of an exponential family
    u = torch.tensor([0.1, 0.5, 0.9], dtype=F64)
    x = d.icdf(u)
    assert ((x >= 0) & (x <= 1)).all()
    if 1e-3 < abs(t) < 100:
        close(special.expm1(t * x.detach().numpy()) / math.expm1(t), u, rel=1e-7)


@pytest.mark.parametrize("name", ["laplace", "student-t", "continuous-bernoulli"])
def test_draws_are_differentiable_in_the_parameters(name: str) -> None:
    u = torch.rand(4, 5, dtype=F64, generator=torch.Generator().manual_seed(3))
    eps = torch.randn(4, 5, dtype=F64)
    a, b, c = (torch.rand(5, dtype=F64).add(0.7).requires_grad_() for _ in range(3))
    if name == "laplace":
        make, given = (lambda a, b, c: torch.distributions.Laplace(a, b)), [u]
    elif name == "student-t":
        make, given = (lambda a, b, c: torch.distributions.StudentT(c, a, b)), [u, eps]
    else:
        make, given = (lambda a, b, c: ContinuousBernoulli(a - b)), [u]

    def drawn(*parameters: Tensor) -> Tensor:
        return draw(make(*parameters), 4, Given(given))

    assert torch.autograd.gradcheck(drawn, (a, b, c), eps=1e-5, atol=1e-5, rtol=1e-3)


def colour(bins: int = 5, components: int = 3, pixels: tuple[int, ...] = ()) -> LogisticMixture:
    generator = torch.Generator().manual_seed(5)

    def normal(channels: int) -> Tensor:
        return torch.randn(channels, components, *pixels, generator=generator, dtype=F64)

    return LogisticMixture(
        normal(1)[0], 0.5 + 0.4 * normal(3), 0.2 * (0.5 * normal(3)).exp(), torch.tanh(normal(3)),
        pixels=len(pixels), bins=bins)  # fmt: skip


def by_hand(d: LogisticMixture, x: np.ndarray, bins: int) -> float:
    """The mass of one pixel (r, g, b), written out by differences of scipy's distribution functions."""
    weights = special.softmax(d.logits.numpy())
    loc, scale, pull = d.loc.numpy(), d.scale.numpy(), d.coupling.numpy()
    half, total = 0.5 / (bins - 1), 0.0
    for m, weight in enumerate(weights):
        r, g, _ = x - 0.5
        means = (loc[0, m], loc[1, m] + pull[0, m] * r, loc[2, m] + pull[1, m] * r + pull[2, m] * g)
        mass = weight
        for c in range(3):
            law = stats.logistic(means[c], scale[c, m])
            above = 1.0 if x[c] == 1 else law.cdf(x[c] + half)
            mass *= above - (0.0 if x[c] == 0 else law.cdf(x[c] - half))
        total += mass
    return total


def test_colour_masses_against_enumeration() -> None:
    bins = 5
    d = colour(bins)
    every = torch.tensor(list(itertools.product(range(bins), repeat=3)), dtype=F64) / (bins - 1)
    joint = d.log_prob(every).sum(-1).exp()
    close(joint, [by_hand(d, x, bins) for x in every.numpy()], rel=1e-10)
    assert joint.sum().item() == pytest.approx(1, abs=1e-12)
    given = d.log_prob(every)  # by the chain rule: P(r), P(g | r), P(b | r, g)
    table = joint.reshape(bins, bins, bins)
    close(given[:, 0].exp(), (table.sum((1, 2))[:, None, None].expand_as(table)).flatten(), rel=1e-10)
    pair = table.sum(2)
    close(given[:, 1].exp(), (pair / pair.sum(1, keepdim=True))[..., None].expand_as(table).flatten(), rel=1e-10)
    n = 20_011
    x = draw(LogisticMixture(*(v.expand(1, *v.shape) for v in (d.logits, d.loc, d.scale, d.coupling)), pixels=0,
                             bins=bins), n, noise(3))[:, 0]  # fmt: skip
    index = ((x * (bins - 1)).round() @ torch.tensor([25.0, 5, 1], dtype=F64)).long()
    seen, expected = np.bincount(index, minlength=125), joint.numpy() * n
    few = expected < 10
    seen, expected = np.append(seen[~few], seen[few].sum()), np.append(expected[~few], expected[few].sum())
    assert stats.chisquare(seen, expected * n / expected.sum()).pvalue > 1e-6


def test_each_channel_of_256_values_sums_to_one_given_those_before_it() -> None:
    d = colour(256)
    levels = torch.linspace(0, 1, 256, dtype=F64)
    for c in range(3):
        x = torch.tensor([0.2, 0.9, 0.0], dtype=F64).expand(256, 3).clone()
        x[:, c] = levels
        assert d.log_prob(x)[:, c].exp().sum().item() == pytest.approx(1, abs=1e-10)


def test_the_mean_of_colours() -> None:
    """Against enumeration: exact for the first channel, and for the others where no end of the grid cuts."""
    d = colour(9)
    inside = LogisticMixture(d.logits, 0.5 + 0.1 * (d.loc - 0.5), d.scale / 40, 0.3 * d.coupling, pixels=0, bins=9)
    every = torch.tensor(list(itertools.product(range(9), repeat=3)), dtype=F64) / 8
    for law, exact in ((d, 1), (inside, 3)):
        truth = law.log_prob(every).sum(-1).exp() @ every
        close(law.mean[:exact], truth[:exact], rel=1e-9 if law is d else 0.02)
        assert (law.mean - truth).abs().max() < 0.05
    uncoupled = LogisticMixture(d.logits, d.loc, d.scale, 0 * d.coupling, pixels=0, bins=9)
    close(uncoupled.mean, uncoupled.log_prob(every).sum(-1).exp() @ every, rel=1e-9)


@pytest.mark.parametrize("raw", [0.0, 40.0, -1e3, 1e6])
def test_colours_at_extremes_have_finite_gradients(raw: float) -> None:
    family = likelihoods.LogisticMixture
    for dtype in (F64, torch.float32):
        part = family(Constant(raw * torch.rand(100, 2, 2)), (3, 2, 2)).to(dtype)
        out = part.network.value
        x = torch.randint(0, 256, (1, 3, 2, 2)).to(dtype) / 255
        log = part(torch.zeros(1, Z, dtype=dtype)).log_prob(x)
        assert torch.isfinite(log).all()
        assert torch.isfinite(torch.autograd.grad(log.sum(), out)[0]).all()


def test_masks_of_colours() -> None:
    """Whole pixels or their last channels are left out exactly; a channel without its predecessors is refused."""
    family = likelihoods.LogisticMixture
    part = family(Linear(Z, family.outputs((3, 2, 2), components=2)), (3, 2, 2), components=2, bins=5).double()
    z, x = torch.randn(K, B, Z, dtype=F64), torch.randint(0, 5, (B, 3, 2, 2)) / 4.0
    unread = torch.distributions.Normal(0.0, 1.0)

    def log_px(observed: Tensor) -> Tensor:
        return Terms(torch.where(observed, x, 0).double(), z, unread, unread, part(z), observed).log_px

    observed = torch.ones(B, 3, 2, 2, dtype=torch.bool)
    observed[:, :, 0, 1], observed[:, 2, 1, 1], observed[:, 1:, 1, 0] = False, False, False
    single = entries(part(z)).log_prob(x.double())
    close(log_px(observed), (single * observed).flatten(2).sum(2))
    # and what the left out blue of a pixel is does not matter: the sum over it is that of the two others
    levels = torch.stack([x.double().index_put((torch.arange(B), torch.tensor(2), torch.tensor(1), torch.tensor(1)),
                                               torch.tensor(v / 4, dtype=F64)) for v in range(5)])  # fmt: skip
    whole = torch.stack([entries(part(z)).log_prob(v)[..., :, 1, 1].sum(-1) for v in levels]).logsumexp(0)
    close(whole, single[..., :2, 1, 1].sum(-1))
    observed[:, 0, 1, 1] = False
    with pytest.raises(UsageError, match="whole pixels"):
        log_px(observed)


def test_heavy_tails_forgive_an_outlier() -> None:
    """log p falls by x² for the Gaussian, |x| for Laplace, and log |x| times df + 1 for Student's t."""
    z = torch.zeros(1, Z)
    for family, arguments, fall in (
        (likelihoods.Laplace, {}, 900.0),
        (likelihoods.StudentT, {"df": 2.0}, 3 * math.log(10)),
    ):
        part = family(Linear(Z, 1), (1,), scale=1.0, **arguments)
        torch.nn.init.zeros_(part.network.map.weight)
        torch.nn.init.zeros_(part.network.map.bias)
        d = part(z)
        assert (d.log_prob(torch.tensor([[100.0]])) - d.log_prob(torch.tensor([[1000.0]]))).item() == pytest.approx(
            fall, rel=1e-3
        )


def test_shared_noise_gives_every_row_the_same_counts() -> None:
    from vaelab.noise import SharedNoise

    d = torch.distributions.Poisson(torch.full((B, 5), 3.0))
    x = draw(d, K, SharedNoise(torch.Generator().manual_seed(0)))
    close(x, x[:, :1].expand_as(x))
    within(draw(torch.distributions.Poisson(torch.full((4,), 3.0, dtype=F64)), 20_011, noise()), np.full(4, 3.0))
