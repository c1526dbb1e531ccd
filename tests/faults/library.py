"""The library given data, masks, numbers and networks that it cannot use, or only in one right way."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from faults.catalogue import Place, library
from vaelab import VAE, Noise, fit, likelihoods, networks, posteriors, priors
from vaelab.conditional import bounded
from vaelab.data import open_source
from vaelab.errors import DataError, TrainingError, UsageError
from vaelab.models import Terms
from vaelab.objectives import elbo
from vaelab.training import Rows

D, Z, N = 6, 2, 40
BRIEFLY = {"epochs": 2, "batch_size": 16, "device": "cpu", "progress": "off"}


def numbers(rows: int = N, columns: int = D) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, columns))


def model(
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    likelihood: type = likelihoods.Gaussian,
    posterior: type = posteriors.Gaussian,
    **arguments: object,
) -> VAE:
    """Return a small VAE of real rows."""
    encoder = encoder or networks.MLP(D, posterior.outputs(Z), (8,))
    decoder = decoder or networks.MLP(Z, likelihood.outputs((D,), **arguments), (8,))
    return VAE(
        prior=priors.Gaussian(Z),
        posterior=posterior(encoder, Z),
        likelihood=likelihood(decoder, (D,), **arguments),
    )


def rows_of(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x)).float()


def says(part: VAE, x: Tensor, observed: Tensor | None = None, samples: int = 3) -> Terms:
    return part.terms(x, samples=samples, observed=observed, noise=Noise.seeded(1))


def same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b)


# ---- data ----------------------------------------------------------------------------------------


@library("L1")
def every_type_of_number(place: Place) -> None:
    grid = np.random.default_rng(0).integers(0, 17, (N, D))
    read = [open_source(grid.astype(kind)) for kind in ("int64", "int32", "int16", "uint8")]
    assert {data.schema.values for data in read} == {"integer"}
    encoded = [Rows(data).data for data in read]
    assert {x.dtype for x in encoded} == {torch.float32}, "cast to the type of the model"
    assert all(same(x, encoded[0]) for x in encoded), "and the same numbers whatever type they came in"
    assert same(encoded[0], rows_of(grid / 16)), "by the range of the data: 8-bit numbers are never taken for [0, 1]"
    binary = [open_source((grid > 8).astype(kind)) for kind in ("bool", "uint8", "int64", "float32")]
    assert {data.schema.values for data in binary} == {"binary"}
    assert all(same(Rows(data).data, rows_of(grid > 8)) for data in binary)
    for kind in ("float64", "float32"):
        data = open_source(grid.astype(kind))
        assert data.schema.values == "real"
        assert same(Rows(data).data, rows_of(grid)), "real numbers stay as they are"
    double = Rows(open_source(numbers()), dtype=torch.float64).data
    assert double.dtype == torch.float64
    assert same(double, torch.from_numpy(numbers())), "nothing is lost on the way to a model in float64"
    run = fit(model(), numbers(), **BRIEFLY)
    values = [run.evaluate(numbers().astype(kind), samples=5).elbo.value for kind in ("float64", "float32")]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def refused_by_bernoulli(x: np.ndarray, *words: str) -> None:
    part = model(likelihood=likelihoods.Bernoulli)
    before = copy.deepcopy(part.state_dict())
    with pytest.raises(UsageError) as caught:
        fit(part, x, **BRIEFLY)
    for word in ("the Bernoulli likelihood is for binary values", *words):
        assert word in str(caught.value)
    assert all(same(value, before[name]) for name, value in part.state_dict().items()), "before any step"


@library("L2")
def bytes_for_a_bernoulli(place: Place) -> None:
    x = np.random.default_rng(0).integers(0, 256, (N, D))
    x[0, :2] = 0, 255
    refused_by_bernoulli(x, "integer ones, 0..255", "discretized-logistic")
    refused_by_bernoulli(x.astype(np.uint8), "integer ones, 0..255", "discretized-logistic")


@library("L2")
def values_from_minus_one_to_one_for_a_bernoulli(place: Place) -> None:
    refused_by_bernoulli(np.tanh(numbers()), "real ones", "gaussian")
    refused_by_bernoulli(np.sign(numbers()).astype(int), "integer ones, -1..1")


@library("L3")
def grey_values_for_a_bernoulli(place: Place) -> None:
    refused_by_bernoulli(1 / (1 + np.exp(-numbers())), "real ones", "gaussian")


@library("L4")
def nan_is_a_missing_entry_and_masked(place: Place) -> None:
    x = numbers()
    x[::5, 2] = np.nan
    data = open_source(x)
    assert data.observed is not None
    assert int((~data.observed).sum()) == 8
    filled = replace(data, x=torch.where(data.observed, data.x, 77.0))
    runs = []
    for source in (x, filled):
        torch.manual_seed(0)
        runs.append(fit(model(nn.Linear(D, 2 * Z), nn.Linear(Z, D)), source, **BRIEFLY))
    assert all(np.isfinite(record["elbo"]) for record in runs[0].history.records)
    for a, b in zip(runs[0].model.parameters(), runs[1].model.parameters()):
        assert same(a, b), "what stands in a missing entry moves nothing"


@library("L4")
def infinity_is_no_missing_entry(place: Place) -> None:
    x = numbers()
    x[3, 2] = np.inf
    with pytest.raises(DataError, match=r"row 4|\[3, 2\]|entry \[2\]"):
        fit(model(), x, **BRIEFLY)


@library("L4")
def nan_that_a_mask_calls_observed(place: Place) -> None:
    data = open_source(numbers())
    x = data.x.clone()
    x[3, 2] = torch.nan
    assert int((~replace(data, x=x).observed).sum()) == 1, "NaN is a missing entry"
    mask = torch.ones_like(x, dtype=torch.bool)
    with pytest.raises(DataError, match=r"1 NaN in x where the mask says that it was observed, first in row 4"):
        replace(data, x=x, observed=mask)
    mask[3, 2] = False
    fit(model(), replace(data, x=x, observed=mask), **BRIEFLY)


@library("L5")
def what_stands_under_a_mask(place: Place) -> None:
    observed = torch.rand(N, D, generator=torch.Generator().manual_seed(0)) < 0.6
    x, part = rows_of(numbers()), model()
    answers = []
    for value in (0.0, 1e6, -1e30, torch.nan, torch.inf):
        terms = says(part, torch.where(observed, x, value), observed)
        loss = -elbo(terms).mean()
        gradient = torch.autograd.grad(loss, list(part.parameters()), allow_unused=True)
        answers.append([terms.log_px, terms.log_w, terms.z, *(g for g in gradient if g is not None)])
    for other in answers[1:]:
        assert all(same(a, b) for a, b in zip(answers[0], other, strict=True))


# ---- numbers that run away -----------------------------------------------------------------------


@library("L6")
def extreme_log_deviations(place: Place) -> None:
    raw = torch.tensor([0.0, 5.0, 10.0, 89.0, 1e3, 1e6, 1e30], dtype=torch.float64)
    raw = torch.cat([raw, -raw]).requires_grad_()
    value = bounded(raw)
    assert bool((value.abs() < 10.000001).all()), "within exp(-10) and exp(10) of the unit"
    (slope,) = torch.autograd.grad(value.sum(), raw)
    assert bool((slope > 0).all()), "smooth: there is always a way back"
    assert bool((torch.diff(bounded(torch.linspace(-50, 50, 2001))) > 0).all())
    with torch.no_grad():
        part = model()
        part.posterior.network.layers[-1].bias[Z:] = 1e30
        terms = says(part, rows_of(numbers()))
        assert bool(torch.isfinite(terms.kl_total).all())
        assert bool(torch.isfinite(terms.log_w).all())


@library("L7")
def a_decoder_that_reproduces_its_rows(place: Place) -> None:
    for scale in ("shared", "entry", "network", "optimal"):
        part = model(scale=scale)
        for parameter in part.likelihood.parameters():
            nn.init.constant_(parameter, -1e6)  # log sigma as low as it goes
        if scale == "optimal":
            part.likelihood.variance.zero_()
            part.likelihood.update(says(part, rows_of(np.zeros((N, D)) - 1e6)))
        sigma = part.decode(torch.zeros(1, Z)).base_dist.scale
        assert bool((sigma >= min(np.exp(-10) * 0.999, 1e-5)).all()), f"{scale}: the deviation has a floor"
        assert bool(torch.isfinite(says(part, rows_of(np.zeros((N, D)))).log_px).all())


# ---- networks of one's own -----------------------------------------------------------------------


@library("L8")
def a_network_of_the_wrong_shape(place: Place) -> None:
    for part, words in [
        (model(encoder=nn.Linear(D, 5)), r"Linear gave \(\d+, 5\) .*latent_dim 2 needs \(\d+, 4\).*outputs=4"),
        (model(decoder=nn.Linear(Z, 10)), r"Linear gave \(1, \d+, 10\) .*needs \(1, \d+, 6\)\. Give the network"),
    ]:
        with pytest.raises(UsageError, match=words):
            fit(part, numbers(), **BRIEFLY)


@library("L8")
def rows_of_the_wrong_shape(place: Place) -> None:
    run = fit(model(), numbers(), **BRIEFLY)
    for use in (run.evaluate, run.reconstruct):
        with pytest.raises((UsageError, DataError), match=r"shape \(5,\).*\(6,\)"):
            use(numbers(20, 5))


@library("L8")
def x_of_another_shape_than_the_likelihood(place: Place) -> None:
    part = model(encoder=nn.Sequential(nn.Linear(5, 4)))
    with pytest.raises((UsageError, RuntimeError), match="6"):
        says(part, torch.zeros(3, 5)).log_px  # noqa: B018


class Spoilt(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.map = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x) * torch.nan


@library("L9")
def a_network_that_gives_nan(place: Place) -> None:
    for part, name in [(model(encoder=Spoilt(D, 4)), "the mean of q(z | x)"), (model(decoder=Spoilt(Z, D)), "log p(x")]:
        with pytest.raises(TrainingError) as caught:
            fit(part, numbers(), epochs=60, batch_size=16, device="cpu", progress="off", validation=0)
        assert name in str(caught.value)
        assert "Expected parameter" not in str(caught.value)
