"""Exact checks of p(s | x): entries that hide themselves, against quadrature."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from unittest.mock import patch

import polars as pl
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from exact import check, close, f64
from vaelab import ELBO, Run, likelihoods, networks, posteriors, priors, recipes, train
from vaelab.conditional import Conditional
from vaelab.data import Dataset, Schema
from vaelab.data.fields import SPIKE
from vaelab.evaluation import inference_gaps
from vaelab.evaluation.annealed import annealed_rows
from vaelab.missingness import SelfMasking
from vaelab.models import VAE
from vaelab.noise import Noise
from vaelab.objectives import iwae
from vaelab.training import Rows, Settings, optimise
from vaelab.use import classify, expected, impute

W, M, SIGMA = f64([1.2, -0.7, 0.5]), f64([0.3, -0.2, 0.1]), 0.6
SLOPE, INTERCEPT = f64([2.0, -1.5, 0.0]), f64([-0.5, 0.4, -1.0])


class _Line(nn.Module):
    """w z + m."""

    def forward(self, z: Tensor) -> Tensor:
        return z * W + M


def model() -> VAE:
    """Return p(z) = N(0, 1), p(x | z) = N(w z + m, sigma² I), p(s | x), and a q(z | x) that is wide and wrong."""
    hiding = SelfMasking((3,)).double()
    hiding.raw_slope.data, hiding.intercept.data = SLOPE.clone(), INTERCEPT.clone()
    encoder = networks.Linear(3, 2).double()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
    return VAE(
        prior=priors.Gaussian(1),
        posterior=posteriors.Gaussian(encoder, 1),  # the prior: its weights are bounded
        likelihood=likelihoods.Gaussian(_Line(), (3,), SIGMA).double(),
        missingness=hiding,
    ).double()


X = f64([[0.8, 0.0, 0.4], [0.0, -0.3, 0.0], [0.1, 0.9, -1.0]])
SEEN = torch.tensor([[True, False, True], [False, True, False], [True, True, True]])


def by_quadrature() -> tuple[Tensor, Tensor]:
    """Return log p(x_observed, s), (3,), and E[x_missing | x_observed, s], (3, 3), by sums over fine grids."""
    z, x = torch.linspace(-9, 9, 2001, dtype=torch.float64), torch.linspace(-12, 12, 3001, dtype=torch.float64)
    dz, dx = z[1] - z[0], x[1] - x[0]
    total, means = [], torch.zeros(3, 3, dtype=torch.float64)
    for row in range(3):
        weight = Normal(0.0, 1.0).log_prob(z).exp()
        firsts = {}
        for i in range(3):
            if SEEN[row, i]:
                hidden = torch.sigmoid(SLOPE[i] * X[row, i] + INTERCEPT[i])
                weight = weight * Normal(W[i] * z + M[i], SIGMA).log_prob(X[row, i]).exp() * (1 - hidden)
            else:
                density = Normal((W[i] * z + M[i])[:, None], SIGMA).log_prob(x).exp()
                density = density * torch.sigmoid(SLOPE[i] * x + INTERCEPT[i])
                mass = density.sum(1) * dx
                firsts[i] = (density * x).sum(1) * dx / mass
                weight = weight * mass
        total.append((weight.sum() * dz).log())
        for i, first in firsts.items():
            means[row, i] = (weight * first).sum() / weight.sum()
    return torch.stack(total), means


@check
def hidden_entries_against_quadrature() -> None:
    """log p(x_observed, s) and E[x_missing | x_observed, s], to five standard errors of 100,000 weighted draws."""
    truth, means = by_quadrature()
    vae, draws = model(), 100_000
    with torch.no_grad():
        terms = vae.terms(X, samples=draws, observed=SEEN, noise=Noise.seeded(3))
    w = (terms.log_w - truth).exp()  # of mean 1
    error = w.std(0) / math.sqrt(draws)
    assert ((iwae(terms) - truth).abs() < 5 * error).all(), f"{iwae(terms)} for {truth}"
    assert terms.filled is not None
    close(terms.filled[:, SEEN], X[SEEN].expand(draws, -1), 0.0, what="what was seen")
    share = (w / w.sum(0)).unsqueeze(-1)
    found = (share * terms.filled).sum(0)
    spread = (share * (terms.filled - means)).square().sum(0).sqrt()
    assert ((found - means).abs() < 5 * spread)[~SEEN].all(), f"{found} for {means}"
    # what hides itself lies where it would: not where it would be if it were missing at random
    blind = VAE(prior=vae.prior, posterior=vae.posterior, likelihood=vae.likelihood)
    with torch.no_grad():
        other = blind.terms(X, samples=draws, observed=SEEN, noise=Noise.seeded(3))
    plain = (other.log_w.softmax(0).unsqueeze(-1) * (other.z * W + M)).sum(0)
    assert ((plain - means).abs() > 10 * spread)[~SEEN & (SLOPE != 0)].all(), "the case does not tell"


@check
def hidden_entries_filled_by_the_verbs() -> None:
    """`impute` and the estimators' `expected` have that mean too, in the user's units; draws have its spread."""
    _, means = by_quadrature()
    loc, scale = f64([10.0, -5.0, 0.0]), f64([2.0, 0.5, 3.0])
    schema = Schema(name="x", layout="table", shape=(3,), values="real", columns=("a", "b", "c"), loc=loc, scale=scale)
    data = Dataset(torch.where(SEEN, X, torch.nan) * scale + loc, schema)
    truth = means * scale + loc
    for filled in (
        expected(model(), data, samples=40_000, seed=1),
        impute(model(), data, samples=40_000, seed=1).values,
    ):
        close(filled[~SEEN], truth[~SEEN], 0.03 * float(scale.max()), what="filled")
        close(filled[SEEN], data.x[SEEN], 1e-9, what="what was seen")


@check
def hiding_begins_at_the_share_that_is_missing() -> None:
    """start: p(missing) of each entry is its share, whatever its value; the direction has its sign."""
    x = torch.zeros(99, 3)
    x[:50, 0] = torch.nan
    for direction, sign in (("either", 0), ("high", 1), ("low", -1)):
        hiding = SelfMasking((3,), direction)
        with torch.no_grad():
            hiding.start(x, 99)
        assert (hiding.slope.sign() == sign).all()
        close(hiding.intercept.sigmoid(), torch.tensor([0.505, 0.005, 0.005]), 1e-6, what="share missing")


@check
def a_gap_is_no_value_where_parts_begin() -> None:
    """start: a part begins where it does on the rows without gaps; training hands it NaN where nothing was seen."""
    some = Noise.seeded(3).uniform((40, 1), torch.zeros(1))
    one = networks.MLP(2, 1, (3,))
    cases: list[tuple[Conditional, Tensor]] = [
        (likelihoods.Bernoulli(one, (1,)), (some < 0.8).float()),
        (likelihoods.Poisson(one, (1,)), (9 * some).round()),
        (likelihoods.GaussianMixture(one, (1,), spike=True), SPIKE * (some < 0.8)),
        (likelihoods.Ordinal(one, (1,), bins=4), (3 * some).round() / 3),
        (likelihoods.LowRankCategorical(one, (1,), categories=5), (4 * some).round()),
    ]
    for part, x in cases:
        gone = x.clone()
        gone[15:] = torch.nan
        ends = []
        for rows in (gone, x[:15], x):
            twin = copy.deepcopy(part)
            with torch.no_grad():
                twin.start(rows, 40)
            ends.append(torch.cat([value.flatten() for value in twin.state_dict().values()]))
        close(ends[0], ends[1], 1e-6, what=type(part).__name__)
        assert not torch.equal(ends[0], ends[2]), f"{type(part).__name__}: the case does not tell"

    class Sees(ELBO):
        def start(self, x: Tensor, rows: int) -> None:
            self.gaps = x.isnan().sum(0)

    schema = Schema(name="x", layout="table", shape=(3,), values="real", columns=("a", "b", "c"))
    objective, rows = Sees(), Rows(Dataset(torch.where(SEEN, X, torch.nan), schema))
    optimise(recipes.vae((3,), 1, likelihood="gaussian")[0], objective, rows, None, Settings(epochs=1, compile="off"))
    assert objective.gaps.tolist() == (~SEEN).sum(0).tolist(), "what parts begin from"


@check
def only_columns_of_real_numbers_hide_themselves() -> None:
    """log p(s | x) of a mixed table by hand, and the way of its gradient: to the decoder through draws of numbers."""
    kinds = ("gaussian", "bernoulli", "student-t", "categorical=3")
    px = likelihoods.Columns.pathwise(kinds=kinds)
    assert px == (0, 2)
    network = networks.Linear(1, likelihoods.Columns.outputs((4,), kinds=kinds))
    read = networks.Linear(likelihoods.Columns.seen((4,), kinds=kinds)[0], 2)
    hiding = SelfMasking((4,), "low", columns=px)
    table = VAE(
        prior=priors.Gaussian(1),
        posterior=posteriors.Gaussian(likelihoods.Columns.reader(read, kinds=kinds), 1),
        likelihood=likelihoods.Columns(network, (4,), kinds),
        missingness=hiding,
    ).double()
    hiding.raw_slope.data, hiding.intercept.data = f64([0.5, 3.0, -1.0, 3.0]), f64([0.1, -0.4, 0.2, 0.3])
    x = f64([[0.8, 1.0, 0.3, 2.0], [0.5, 0.0, -0.4, 1.0]])
    seen = torch.tensor([[False, True, True, False], [True, False, False, True]])
    terms = table.terms(x, samples=3, observed=seen, noise=Noise.seeded(1))
    assert terms.filled is not None
    slope = -f64([math.log1p(math.exp(0.5)), 0.0, math.log1p(math.exp(-1.0)), 0.0])
    gone = torch.sigmoid(slope * terms.filled + hiding.intercept)
    by_hand = torch.where(seen, 1 - gone, gone).log().sum(-1)
    plain = VAE(prior=table.prior, posterior=table.posterior, likelihood=table.likelihood)
    other = plain.terms(x, samples=3, observed=seen, noise=Noise.seeded(1))
    close(terms.log_w - other.log_w, by_hand, 1e-12, what="log p(s | x)")
    either = SelfMasking((4,), columns=px).double()
    either.raw_slope.data = f64([0.5, 3.0, -1.0, 3.0])
    close(either.slope, f64([0.5, 0.0, -1.0, 0.0]), 0.0, what="slopes of either sign")
    (way,) = torch.autograd.grad(by_hand.sum(), network.map.weight)
    assert way.abs().max() > 0, "no gradient of log p(s | x) reaches the decoder"


@check
def every_encoder_is_told_of_gaps() -> None:
    """No encoder of mixed columns reads a number for one that is missing: none of these rows is 0, no class is 0."""
    number = Noise.seeded(4).normal((30, 1), torch.zeros(1)).double().numpy()
    table = pl.DataFrame({"a": number[:, 0], "b": ["x", "y", "z"] * 10, "c": ["u", "v"] * 15})
    table = table.with_columns(pl.when(pl.int_range(30) % 4 == 1).then(None).otherwise("a").alias("a"))
    read: list[Tensor] = []
    plain = networks.Typed.forward

    def watched(self: networks.Typed, x: Tensor, condition: Tensor | None = None) -> Tensor:
        read.append(x[..., 0])
        return plain(self, x, condition)

    quick = {"epochs": 1, "hidden": "4", "latent_dim": 2, "progress": "off", "validation": 0, "labels": "c"}
    verbs: dict[str, Callable[[Run], object]] = {
        "train": lambda run: None,
        "encode": lambda run: run.encode(),
        "score": lambda run: run.score(samples=2),
    }
    own: dict[str, dict[str, Callable[[Run], object]]] = {
        "vae": {
            "anneal": lambda run: annealed_rows(
                run.model, Rows(run.data()[0]), temperatures=2, chains=1, start="posterior"
            ),
            "gaps": lambda run: inference_gaps(run.model, Rows(run.data()[0]), most=4, temperatures=2, chains=2),
        },
        "m2": {"classify": lambda run: classify(run.model, run.data()[0])},
    }
    with patch.object(networks.Typed, "forward", watched):
        for recipe in ("vae", "hierarchical", "ladder", "m2", "wake-sleep", "monte-carlo-em"):
            read.clear()
            run = train(table, recipe=recipe, **quick)
            for name, verb in (verbs | own.get(recipe, {})).items():
                verb(run)
                assert any(bool(x.isnan().any()) for x in read), f"{recipe}, {name}: the case does not tell"
                assert not any(bool((x == 0).any()) for x in read), f"{recipe}, {name}: a gap was read as 0"
                read.clear()
