"""Evaluation: no figure depends on batching, units do what they say, copies of features add up."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from oracles import F64, LinearGaussian, close, noise, rows, schema, tensor, within
from vaelab import likelihoods, posteriors, priors
from vaelab.conditional import Conditional
from vaelab.data import Dataset, as_real
from vaelab.evaluation import (
    active_units,
    evaluate_model,
    evidence_rows,
    mutual_information,
)
from vaelab.evaluation.evaluate import Estimate
from vaelab.models import VAE
from vaelab.networks import MLP
from vaelab.noise import Noise, RowNoise, SharedNoise
from vaelab.training import Rows, validation_bound
from vaelab.use import generate, reconstruct, score

N, X, Z = 53, 7, 3


def nonlinear(likelihood=likelihoods.Gaussian, posterior=posteriors.Gaussian, **arguments) -> VAE:
    encoder = MLP(X, posterior.outputs(Z), (11,), "tanh")
    decoder = MLP(Z, likelihood.outputs((X,), **arguments), (13,), "tanh")
    part = likelihood(decoder, (X,), **arguments)
    return VAE(prior=priors.Gaussian(Z), posterior=posterior(encoder, Z), likelihood=part).double()


BLOCKS = [1, 100 * X, 17 * 100 * X, 52 * 100 * X]  # one row at a time, still one, 17 with a last block of 2, 52 and 1


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_no_figure_depends_on_the_size_of_a_block(shared: bool, masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nonlinear()
    observed = (torch.rand(N, X) < 0.7).numpy() if masked else None
    some = rows(torch.randn(N, X, dtype=F64), observed=observed)
    whole = evidence_rows(model, some, samples=103, seed=3, shared=shared)
    for numbers in BLOCKS:
        monkeypatch.setattr("vaelab.memory.VALUES", numbers)
        other = evidence_rows(model, some, samples=103, seed=3, shared=shared)
        for name in ("elbo", "evidence", "reconstruction", "kl", "mean"):
            close(getattr(other, name), getattr(whole, name), rel=1e-9)
        a, b = (evaluate_model(model, some, samples=103, seed=3) for _ in range(2))
        assert a == b
    assert evidence_rows(model, some, samples=103, seed=4).elbo[0] != whole.elbo[0]


@pytest.mark.parametrize("binarize", ["stochastic", "threshold"])
def test_nor_with_grey_values_drawn_to_0_and_1(binarize: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Dataset(
        torch.randint(17, (N, X)).to(torch.uint8), schema((X,), values="binary", low=0, high=16, binarize=binarize)
    )
    some = Rows(data, dtype=F64)
    model = nonlinear(likelihoods.Bernoulli)
    whole = evidence_rows(model, some, samples=5)
    for numbers in (1, 17 * 5 * X):
        monkeypatch.setattr("vaelab.memory.VALUES", numbers)
        close(evidence_rows(model, some, samples=5).evidence, whole.evidence, rel=1e-9)


def test_row_values_do_not_depend_on_the_other_rows() -> None:
    model, x = nonlinear(), torch.randn(N, X, dtype=F64)
    whole = evidence_rows(model, rows(x), samples=7, shared=True)
    order = torch.randperm(N)
    moved = evidence_rows(model, rows(x[order]), samples=7, shared=True)
    for name in ("elbo", "evidence", "reconstruction", "kl", "mean"):
        # not to the bit: torch's vectorised exp and tanh round the last few of an array otherwise
        close(getattr(moved, name), getattr(whole, name)[order], rel=1e-13)
    some = evidence_rows(model, rows(x[5:8]), samples=7, shared=True)
    close(some.evidence, whole.evidence[5:8], rel=1e-9)
    start = evidence_rows(model, rows(x[:8]), samples=7)  # noise of the row's place
    close(start.evidence, evidence_rows(model, rows(x), samples=7).evidence[:8], rel=1e-9)


@pytest.mark.parametrize("samples", [1, 99, 100, 101, 250])
@pytest.mark.parametrize("shared", [False, True])
def test_exactly_k_draws_are_made(samples: int, shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    family, asked = (SharedNoise if shared else RowNoise), []
    plain = family.normal

    def counted(self, shape, like):
        asked.append(shape[0])
        return plain(self, shape, like)

    monkeypatch.setattr(family, "normal", counted)
    evidence_rows(nonlinear(), rows(torch.randn(5, X, dtype=F64)), samples=samples, shared=shared)
    assert sum(asked) == samples


@pytest.mark.parametrize("samples", [7, 230])
def test_evidence_is_the_log_of_the_mean_weight(samples: int) -> None:
    """Against the terms themselves, with the same noise drawn by hand."""
    model, x = nonlinear(), torch.randn(5, X, dtype=F64)
    parts = []
    for number, first in enumerate(range(0, samples, 100)):
        k = min(100, samples - first)
        parts.append(model.terms(x, samples=k, noise=RowNoise(9, range(5), number)))
    log_w = torch.cat([t.log_w for t in parts]).detach()
    values = evidence_rows(model, rows(x), samples=samples, seed=9)
    close(values.evidence, log_w.logsumexp(0) - math.log(samples))
    close(values.elbo, log_w.mean(0))
    close(values.kl, parts[0].kl["z"].mean(0))
    close(values.reconstruction, log_w.mean(0) + parts[0].kl_total.mean(0))
    assert (values.evidence > values.elbo).all()
    assert len(log_w[:, 0].unique()) == samples  # no block repeats another's draws


def test_figures_are_means_over_rows_with_their_standard_errors() -> None:
    model, some = nonlinear(), rows(torch.randn(N, X, dtype=F64))
    values, got = evidence_rows(model, some, samples=11), evaluate_model(model, some, samples=11)
    for name in ("elbo", "reconstruction"):
        each = getattr(values, name).numpy()
        assert getattr(got, name).value == pytest.approx(each.mean(), rel=1e-12)
        assert getattr(got, name).se == pytest.approx(each.std(ddof=1) / math.sqrt(N), rel=1e-12)
    assert got.log_evidence.value == pytest.approx(values.evidence.mean().item(), rel=1e-12)
    assert got.elbo.value == pytest.approx(got.reconstruction.value - got.kl.value, rel=1e-12)
    assert sum(got.kl_per_dimension) == pytest.approx(got.kl.value, rel=1e-12)
    close(np.array(got.kl_per_dimension), values.kl.mean(0))
    assert got.active_units == (values.mean.numpy().var(0) > 0.01).sum()
    assert got.bits_per_dimension is None
    assert got.kl_form == "closed"
    document = json.loads(json.dumps(got.json(), allow_nan=False))
    assert document["log_evidence"]["kind"] == "iwae"
    assert document["rows"] == N


def test_a_single_row_has_no_standard_error_and_no_warning() -> None:
    got = evaluate_model(nonlinear(), rows(torch.randn(1, X, dtype=F64)), samples=3)
    assert math.isnan(got.elbo.se)
    assert got.json()["elbo"]["se"] is None
    assert got.mutual_information == pytest.approx(0, abs=1e-12)
    json.dumps(got.json(), allow_nan=False)


def test_validation_bound_is_the_direct_mean() -> None:
    model, x = nonlinear(), torch.randn(1009, X, dtype=F64)
    judged, value, reconstruction, kl = validation_bound(model, rows(x), seed=2)  # 3 draws; passes of 1,365 rows
    from vaelab.noise import stream

    with torch.no_grad():
        terms = model.terms(x, samples=3, noise=Noise(stream(2, "validation")))
    assert judged == value
    assert value == pytest.approx(terms.log_w.mean().item(), rel=1e-12)
    assert reconstruction == pytest.approx(terms.log_px.mean().item(), rel=1e-12)
    assert kl == pytest.approx(reconstruction - value, rel=1e-12)
    assert validation_bound(model, rows(x), seed=2)[0] == value
    assert validation_bound(model, rows(x), seed=3)[0] != value


def test_validation_weighs_rows_equally_in_a_partial_last_batch() -> None:
    truth = LinearGaussian.random(X, Z)
    x = truth.sample(4001)
    x[-1] += 40  # alone in the last pass
    value = validation_bound(truth.vae(), rows(x), draws=4000)[0]
    assert value == pytest.approx(truth.log_px(x).mean(), rel=1e-10)


# ---- units


def in_other_units(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[Dataset, Rows]:
    data = Dataset(torch.tensor(a * x + b), schema((X,))).fit_scaling()
    return data, Rows(data, dtype=F64)


def test_a_change_of_units_shifts_the_log_density_by_its_jacobian() -> None:
    rng = np.random.default_rng(3)
    x, a, b = rng.normal(size=(N, X)) * 3 + 1, np.exp(rng.normal(size=X) * 3), rng.normal(size=X) * 100
    model = nonlinear()
    (here_data, one), (there_data, other) = in_other_units(x, np.ones(X), np.zeros(X)), in_other_units(x, a, b)
    here, there = evaluate_model(model, one, samples=5), evaluate_model(model, other, samples=5)
    for name in ("elbo", "reconstruction", "log_evidence"):
        shift = getattr(there, name).value - getattr(here, name).value
        assert shift == pytest.approx(-np.log(a).sum(), rel=1e-9)
        assert getattr(there, name).se == pytest.approx(getattr(here, name).se, rel=1e-9)
    assert there.kl.value == pytest.approx(here.kl.value, rel=1e-9)
    fixed = [evaluate_model(model, r, samples=5, units="standardised") for r in (one, other)]
    assert fixed[0].elbo.value == pytest.approx(fixed[1].elbo.value, rel=1e-9)
    close(reconstruct(model, there_data), tensor(a) * reconstruct(model, here_data) + tensor(b), rel=1e-9)
    close(score(model, there_data), score(model, here_data) - np.log(a).sum(), rel=1e-9)
    close(generate(model, other.schema, 11), tensor(a) * generate(model, one.schema, 11) + tensor(b), rel=1e-9)


def test_the_user_s_density_is_the_exact_one_of_the_raw_rows() -> None:
    """The closed-form maximum on standardised rows, in raw units, is the Gaussian density of the raw rows."""
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(4)
    raw = rng.normal(size=(N, X)) @ rng.normal(size=(X, X)) * 20 + 5
    some = Rows(Dataset(torch.tensor(raw), schema((X,))).fit_scaling(), dtype=F64)
    optimum = LinearGaussian.fit(some.data.numpy(), Z)
    S = raw.std(0)
    density = multivariate_normal(raw.mean(0) + S * optimum.m, S[:, None] * optimum.C * S).logpdf(raw).mean()
    assert evaluate_model(optimum.vae(), some, samples=2).log_evidence.value == pytest.approx(density, rel=1e-9)


@pytest.mark.parametrize(("values", "likelihood", "arguments"), [
    ("integer", likelihoods.DiscretizedLogistic, {"bins": 17}),
    ("binary", likelihoods.Bernoulli, {}),
])  # fmt: skip
def test_masses_do_not_depend_on_units(values: str, likelihood, arguments) -> None:
    high = 16 if values == "integer" else 1
    k = torch.randint(high + 1, (N, X)).double()
    model = nonlinear(likelihood, **arguments)
    some, moved = rows(k, values=values, low=0, high=high), rows(k - 3, values=values, low=-3, high=high - 3)
    figures = [evaluate_model(model, r, samples=5, units=u) for r in (some, moved) for u in ("user", "standardised")]
    assert len({f.elbo.value for f in figures}) == 1
    assert figures[0].bits_per_dimension == pytest.approx(-figures[0].elbo.value / (X * math.log(2)), rel=1e-12)
    observed = (torch.rand(N, X) < 0.7).numpy()
    some = rows(k, values=values, low=0, high=high, observed=observed)
    part = evaluate_model(model, some, samples=5)
    assert part.bits_per_dimension == pytest.approx(-part.elbo.value / (observed.sum() / N * math.log(2)), rel=1e-12)


def test_images_as_real_numbers_take_the_jacobian_of_their_grid() -> None:
    images = Dataset(
        torch.randint(256, (N, 2, 4)).to(torch.uint8), schema((2, 4), layout="image", values="integer", low=0, high=255)
    )
    some = Rows(as_real(images), dtype=F64)
    assert some.data.shape == (N, 1, 2, 4)
    encoder, decoder = MLP((1, 2, 4), 2 * Z, (11,)), MLP(Z, (1, 2, 4), (11,))
    model = VAE(
        prior=priors.Gaussian(Z),
        posterior=posteriors.Gaussian(encoder, Z),
        likelihood=likelihoods.Gaussian(decoder, (1, 2, 4)),
    ).double()
    user, standard = (evaluate_model(model, some, samples=5, units=u).elbo.value for u in ("user", "standardised"))
    assert user - standard == pytest.approx(-8 * math.log(255), rel=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_a_density_on_integers_takes_the_jacobian_of_their_grid(masked: bool) -> None:
    """A Gaussian likelihood asked for on integer data is a density of them, not a mass."""
    k, model = torch.randint(-3, 14, (N, X)).double(), nonlinear()
    observed = (torch.rand(N, X) < 0.7).numpy() if masked else None
    some = rows(k, values="integer", low=-3, high=13, observed=observed)
    entries = observed.sum() / N if masked else X
    user, standard = (evaluate_model(model, some, samples=5, units=u).elbo.value for u in ("user", "standardised"))
    assert user - standard == pytest.approx(-entries * math.log(16), rel=1e-10)


def test_copies_of_a_block_of_features_add_up() -> None:
    """k copies multiply the reconstruction by k and leave the KL: no mean over features anywhere."""
    k, truth = 5, LinearGaussian.random(X, Z, seed=3)
    x = truth.sample(N, seed=2)
    V, c, S = truth.encoder()
    wide = LinearGaussian(np.tile(truth.W, (k, 1)), np.tile(truth.m, k), truth.s2)
    one = truth.vae(encoder=(V, c, S))
    many = wide.vae(encoder=(np.concatenate([V, np.zeros((Z, (k - 1) * X))], 1), c, S))
    a = evidence_rows(one, rows(x), samples=11)
    b = evidence_rows(many, rows(np.tile(x, (1, k))), samples=11)
    close(b.kl, a.kl)
    draws = [m.terms(tensor(d), samples=11, noise=noise()) for m, d in ((one, x), (many, np.tile(x, (1, k))))]
    close(draws[1].log_px, k * draws[0].log_px)
    close(draws[1].kl_total, draws[0].kl_total)


def test_masked_colour_images_take_the_jacobian_in_the_layout_of_the_user() -> None:
    shape, scale = (2, 5, 3), torch.rand(2, 5, 3, dtype=F64) + 0.5
    observed = torch.rand(N, *shape) < 0.6
    some = rows(torch.randn(N, *shape, dtype=F64), observed=observed.numpy(), layout="image", scale=scale)
    assert some.data.shape == (N, 3, 2, 5)
    encoder, decoder = MLP((3, 2, 5), 2 * Z, (11,)), MLP(Z, (3, 2, 5), (11,))
    likelihood = likelihoods.Gaussian(decoder, (3, 2, 5), scale="entry")
    model = VAE(prior=priors.Gaussian(Z), posterior=posteriors.Gaussian(encoder, Z), likelihood=likelihood).double()
    user, standard = (evaluate_model(model, some, samples=5, units=u).elbo.value for u in ("user", "standardised"))
    assert user - standard == pytest.approx(-(observed * scale.log()).flatten(1).sum(1).mean().item(), rel=1e-10)


# ---- a pair without a closed form


class TwoBumps(Conditional):
    """p(z) = (N(-1, 1/4) + N(1, 1/4)) / 2 in one dimension: its KL from a Gaussian has no closed form."""

    latent_dim = 1

    def forward(self, given=None, condition=None):
        place = torch.tensor([[-1.0], [1.0]], dtype=F64)
        bumps = Independent(Normal(place, torch.full((2, 1), 0.5, dtype=F64)), 1)
        return MixtureSameFamily(Categorical(torch.ones(2, dtype=F64)), bumps)


def test_a_prior_without_a_closed_form_has_its_kl_sampled() -> None:
    truth = LinearGaussian.random(X, 1, seed=3, s2=2.0)
    model, x = truth.vae(), truth.sample(5, seed=2)
    model.prior = TwoBumps()
    mean, S = truth.posterior(x)
    z, s = np.linspace(-10, 10, 20_001), math.sqrt(S[0, 0])
    log_q = stats.norm(mean, s).logpdf(z)
    log_p = np.logaddexp(stats.norm(-1, 0.5).logpdf(z), stats.norm(1, 0.5).logpdf(z)) - math.log(2)
    kl = (np.exp(log_q) * (log_q - log_p)).sum(1) * (z[1] - z[0])
    draws = model.terms(tensor(x), samples=20_011, noise=noise())
    assert draws.kl["z"].shape == (20_011, 5, 1)
    within(draws.kl_total, kl)
    got = evaluate_model(model, rows(x), samples=2003)
    assert got.kl_form == "sampled"
    spread = draws.kl_total.detach().std(0).norm().item() / 5 / math.sqrt(2003)
    assert abs(got.kl.value - kl.mean()) < 5 * spread
    values = evidence_rows(model, rows(x), samples=7, seed=1)
    terms = model.terms(tensor(x), samples=7, noise=RowNoise(1, range(5)))
    close(values.reconstruction, terms.log_px.mean(0))
    close(values.elbo, (terms.log_px - terms.kl_total).mean(0))
    exact = np.log((np.exp(log_p) * np.exp([truth_given(truth, row, z) for row in x])).sum(1) * (z[1] - z[0]))
    evidence = evidence_rows(model, rows(x), samples=20_011).evidence.numpy()
    weight = np.exp(draws.log_w.detach().numpy() - exact)
    assert (np.abs(np.exp(evidence - exact) - 1) < 5 * weight.std(0) / math.sqrt(20_011)).all()


def truth_given(truth: LinearGaussian, row: np.ndarray, z: np.ndarray) -> np.ndarray:
    return stats.norm(z[:, None] * truth.W[:, 0] + truth.m, math.sqrt(truth.s2)).logpdf(row).sum(1)


# ---- measures


def test_active_units_counts_by_the_variance_of_means() -> None:
    mean = torch.zeros(100, 5, dtype=F64)
    mean[:50, 0], mean[:50, 1], mean[:, 2] = 0.21, 0.19, 9.0  # variances 0.011, 0.009, 0
    mean[:, 3] = torch.linspace(-1, 1, 100)
    assert active_units(mean) == 2


def test_estimate() -> None:
    values = torch.tensor([1.0, 2.0, 4.0], dtype=F64)
    estimate = Estimate.of(values)
    assert (estimate.value, estimate.se) == pytest.approx((7 / 3, np.std([1, 2, 4], ddof=1) / math.sqrt(3)))


def test_mutual_information_takes_at_most_so_many_rows() -> None:
    model, some = nonlinear(), rows(torch.randn(N, X, dtype=F64) * 3)
    value, _, _ = mutual_information(model, some, most=5)
    assert value <= math.log(5) + 1e-12
    a, b = mutual_information(model, some, seed=1), mutual_information(model, some, seed=1)
    assert a == b


def test_evaluation_does_not_train() -> None:
    """Dropout is off, no parameter and no running variance moves, whatever mode the model came in."""
    model = nonlinear(scale="optimal")
    model.posterior.network = nn.Sequential(nn.Dropout(0.5), model.posterior.network)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    some = rows(torch.randn(N, X, dtype=F64))
    first, second = (evaluate_model(model.train(), some, samples=5) for _ in range(2))
    assert first == second
    plain = nonlinear(scale="optimal")
    plain.load_state_dict({k.replace("network.1.", "network."): v for k, v in before.items()})
    assert evaluate_model(plain, some, samples=5) == first
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
