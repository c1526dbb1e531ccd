"""The library used as it should not be, or in ways that few try: named errors, or the same answer as ever."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vaelab
from faults.catalogue import Place, library
from vaelab import ELBO, IWAE, VAE, Noise, fit, likelihoods, load, networks, posteriors, priors
from vaelab.conditional import bounded
from vaelab.data import open_source
from vaelab.errors import DataError, TrainingError, UsageError
from vaelab.evaluation import evidence, evidence_rows
from vaelab.models import Terms
from vaelab.objectives import elbo, iwae
from vaelab.part import inference
from vaelab.training import Rows, validation_bound

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


class Dropout(nn.Module):
    """A network whose answer depends on its mode, and that can be made to wait."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.map, self.drop = nn.Linear(inputs, outputs), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.map(x))


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


# ---- how many rows -------------------------------------------------------------------------------


@library("L10")
def no_rows(place: Place) -> None:
    run = fit(model(), numbers(), **BRIEFLY)
    for posterior in (posteriors.Gaussian, posteriors.FullGaussian, posteriors.Point):
        with pytest.raises(UsageError, match="x has no rows"):
            says(model(posterior=posterior), torch.zeros(0, D))
    assert tuple(run.generate(0).shape) == (0, D)
    for use in (run.evaluate, run.reconstruct):
        with pytest.raises(DataError, match="no rows"):
            use(np.zeros((0, D)))
    with pytest.raises(DataError, match="no rows"):
        fit(model(), np.zeros((0, D)), **BRIEFLY)


@library("L11")
def one_row_left_over(place: Place) -> None:
    run = fit(model(), numbers(33), epochs=2, batch_size=16, validation=0, device="cpu", progress="off")
    assert run.history.skipped == 0
    assert all(bool(torch.isfinite(p).all()) for p in run.model.parameters())
    one = run.evaluate(numbers(1), samples=5)
    assert np.isfinite(one.elbo.value)
    assert one.json()["elbo"]["se"] is None, "one row has no spread"


# ---- state that should not matter ----------------------------------------------------------------


@library("L12")
def training_mode_left_on(place: Place) -> None:
    run = fit(model(Dropout(D, 4), Dropout(Z, D)), numbers(), **BRIEFLY)
    uses: list[Callable[[], Tensor]] = [
        lambda: run.reconstruct(numbers()),
        lambda: run.generate(5),
        lambda: torch.tensor(run.evaluate(numbers(), samples=5).elbo.value),
    ]
    for use in uses:
        run.model.eval()
        expected = use()
        run.model.train()
        run.model.posterior.eval()  # a mode of its own for each module
        assert same(use(), expected)
        assert same(use(), expected), "deterministic"
        assert run.model.training
        assert run.model.likelihood.network.drop.training
        assert not run.model.posterior.training


@library("L13")
def no_global_generator_moves(place: Place) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    part = model()
    torch.set_rng_state(before[0])  # weights of one's own network are drawn by torch, before vaelab has a say
    run = fit(part, numbers(), **BRIEFLY)
    run.evaluate(samples=5)
    run.generate(3)
    run.reconstruct()
    part.terms(torch.zeros(2, D))
    part.generate(2)
    run.save(place.folder / "m.safetensors")
    load(place.folder / "m.safetensors").generate(2)
    vaelab.train(numbers(), epochs=1, latent_dim=2, hidden="4", progress="off", device="cpu")
    assert same(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    sources = [path.read_text() for path in Path(vaelab.__file__).parent.rglob("*.py")]
    assert not [text for text in sources if "import random" in text]  # the checker of shapes moves Python's own
    assert torch.get_default_dtype() == torch.float32


@library("L14")
def the_same_seed_twice(place: Place) -> None:
    how = {"epochs": 2, "latent_dim": 2, "hidden": "4", "progress": "off", "device": "cpu"}
    weights = []
    for seed in (0, 0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(len(weights))  # whatever state the process is in
            run = vaelab.train(numbers(), seed=seed, **how)
        weights.append([*run.model.state_dict().values(), run.generate(3, seed=seed)])
    assert all(same(a, b) for a, b in zip(weights[0], weights[1]))
    assert not any(same(a, b) for a, b in zip(weights[0][-1:], weights[2][-1:]))
    assert any(not same(a, b) for a, b in zip(weights[0], weights[2]))


@library("L15")
def threads_that_share_a_model(place: Place) -> None:
    run = fit(model(Dropout(D, 4), Dropout(Z, D)), numbers(), **BRIEFLY)
    run.model.train()
    serial = run.reconstruct(numbers()), run.generate(5), run.evaluate(numbers(), samples=5)
    with ThreadPoolExecutor(4) as pool:
        seen = [pool.submit(lambda: run.reconstruct(numbers())) for _ in range(6)]
        drawn = [pool.submit(lambda: run.generate(5)) for _ in range(6)]
        judged = [pool.submit(lambda: run.evaluate(numbers(), samples=5)) for _ in range(3)]
    assert all(same(each.result(), serial[0]) for each in seen)
    assert all(same(each.result(), serial[1]) for each in drawn)
    assert all(each.result() == serial[2] for each in judged)
    assert run.model.training


@library("L15")
def a_thread_that_ends_leaves_the_mode_to_the_others(place: Place) -> None:
    part, first_is_in, second_is_in, first_is_out = model(), *(threading.Event() for _ in range(3))
    part.train()
    modes = []

    def first() -> None:
        with inference(part):
            first_is_in.set()
            second_is_in.wait(5)
        first_is_out.set()

    def second() -> None:
        first_is_in.wait(5)
        with inference(part):
            second_is_in.set()
            first_is_out.wait(5)
            modes.append(part.training)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result(5)
    assert modes == [False], "still in use"
    assert part.training, "put back by the last"
    with pytest.raises(ZeroDivisionError), inference(part), inference(part):
        raise ZeroDivisionError
    assert part.training


@library("L16")
def arrays_that_lie_strangely_in_memory(place: Place) -> None:
    x = numbers()
    readonly = x.copy()
    readonly.flags.writeable = False
    strange = [
        np.asfortranarray(x),
        x[::-1, ::-1].copy()[::-1, ::-1],  # negative strides
        np.repeat(x, 2, 1)[:, ::2],
        readonly,
        torch.from_numpy(x.copy()).requires_grad_(),
        torch.from_numpy(x.T.copy()).T,
        x.astype(">f8"),  # the other byte order
        x.tolist(),
    ]
    run = fit(model(), x, **BRIEFLY)
    expected = run.reconstruct(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in strange:
            before = source.detach().clone() if isinstance(source, Tensor) else copy.deepcopy(source)
            assert same(run.reconstruct(source), expected)
            assert np.array_equal(np.asarray(before), source.detach() if isinstance(source, Tensor) else source)
    fit(model(), readonly, **BRIEFLY)
    assert np.array_equal(x, numbers()), "what was handed in is not altered"


@library("L17")
def labels_are_kept_as_they_are(place: Place) -> None:
    for labels in (np.array([3, 7, 100, 3] * 10), np.array(["ash", "oak", "elm", "ash"] * 10)):
        data = open_source(numbers(), labels=labels)
        assert data.labels.tolist() == labels.tolist()
        assert data.take([1, 2]).labels.tolist() == labels[1:3].tolist()


@library("L17")
def a_category_that_training_did_not_see(place: Place) -> None:
    codes = np.random.default_rng(0).integers(0, 3, (N, D))
    run = vaelab.train(codes, likelihood="categorical", epochs=1, latent_dim=2, hidden="4", progress="off")
    codes[5, 1] = 7
    with pytest.raises(DataError, match="7"):
        run.evaluate(codes, samples=2)
    with pytest.raises((UsageError, RuntimeError, DataError)):  # never a one-hot vector of zeros
        networks.OneHot(nn.Flatten(), 3)(torch.tensor([[3.0]]))


@library("L18")
def prior_and_posterior_of_other_sizes(place: Place) -> None:
    with pytest.raises(UsageError, match="the prior has latent_dim 3, the posterior 2"):
        VAE(
            prior=priors.Gaussian(3),
            posterior=posteriors.Gaussian(nn.Linear(D, 4), 2),
            likelihood=likelihoods.Gaussian(nn.Linear(2, D), (D,)),
        )


# ---- what must agree -----------------------------------------------------------------------------


@library("L19")
def sixteen_bits_in_the_networks_only(place: Place) -> None:
    x = rows_of(numbers())
    for posterior in (posteriors.Gaussian, posteriors.FullGaussian):
        for kind in (torch.bfloat16, torch.float16):
            part = model(posterior=posterior)
            with torch.autocast("cpu", kind):
                terms = says(part, x)
                values = {"log_px": terms.log_px, "log_pz": terms.log_pz, "log_qz": terms.log_qz, "kl": terms.kl_total}
            assert {value.dtype for value in values.values()} == {torch.float32}
            exact = says(part, x)
            wide = copy.copy(terms)
            for name in list(wide.__dict__):
                if name not in ("x", "z", "q", "p", "px", "observed", "log_weight", "gradient"):
                    del wide.__dict__[name]  # what was computed: once more, without autocast
            for name, value in values.items():
                again = getattr(wide, "kl_total" if name == "kl" else name)
                torch.testing.assert_close(value, again, rtol=2e-6, atol=2e-6)
            torch.testing.assert_close(values["kl"], exact.kl_total, rtol=0.1, atol=0.1)


@library("L20")
def one_importance_weight(place: Place) -> None:
    for gradient in ("stopped", "pathwise"):
        part, x = model(), rows_of(numbers())
        terms = part.terms(x, samples=1, noise=Noise.seeded(3), gradient=gradient)
        torch.testing.assert_close(iwae(terms), terms.mean(terms.log_w), rtol=1e-6, atol=1e-6)
    (loss, _), (other, _) = (o(part, x, noise=Noise.seeded(3), step=0) for o in (IWAE(1), ELBO()))
    exact = [terms.mean(terms.kl_total), terms.mean(terms.log_qz - terms.log_pz)]  # closed form, and sampled
    torch.testing.assert_close(loss["model"] - exact[1], other["model"] - exact[0], rtol=1e-5, atol=1e-5)


@library("L21")
def beta_is_the_objectives_alone(place: Place) -> None:
    for objective in (ELBO(beta=7.0), ELBO(warmup=1000), ELBO(free_bits=2.0), IWAE(5)):
        run = fit(model(), numbers(), objective=objective, **BRIEFLY)
        for record in run.history.records:
            assert record["elbo"] == pytest.approx(record["reconstruction"] - record["kl"], abs=1e-9)
        best = run.history.best
        held = validation_bound(run.model, Rows(run.splits["validation"]))
        assert best["elbo"] == pytest.approx(held[0], rel=1e-6), "the bound at beta = 1, of the weights that are kept"


@library("L22")
def totals_do_not_depend_on_batches(place: Place) -> None:
    part = model().double()
    rows = Rows(open_source(numbers(53)), dtype=torch.float64)
    values = []
    for block in (1, 7 * D * 20, 2**20):
        with patch.object(evidence, "NUMBERS", block):
            found = evidence_rows(part, rows, samples=20)
        values.append(torch.stack([found.elbo.mean(), found.evidence.mean(), found.kl.sum(1).mean()]))
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=1e-9, atol=0)
    assert values[0].dtype == torch.float64


@library("L23")
def copies_of_a_model(place: Place) -> None:
    x = rows_of(numbers())
    for posterior in (posteriors.Gaussian, posteriors.FullGaussian):
        part = model(posterior=posterior, scale="optimal")
        part.likelihood.variance.fill_(0.3)
        expected = says(part, x).log_w
        assert same(says(copy.deepcopy(part), x).log_w, expected)
        other = model(posterior=posterior, scale="optimal")
        assert not torch.allclose(says(other, x).log_w, expected)
        other.load_state_dict(part.state_dict())
        assert same(says(other, x).log_w, expected)
        assert not any("step" in name or "warm" in name or "generator" in name for name in part.state_dict())
    assert not ELBO(beta=2.0, warmup=10).state_dict(), "warm-up counts the steps of the loop, and keeps none"


COMPILED = """
import torch
from faults.library import N, Noise, elbo, model, numbers, rows_of
from vaelab.noise import Given

part, x = model(), rows_of(numbers())
eps = torch.randn(3, N, 2)
loss = lambda x, eps: -elbo(part.terms(x, samples=3, noise=Given([eps]))).mean()
compiled = torch.compile(loss, backend="eager", fullgraph=True)
torch.testing.assert_close(compiled(x, eps), loss(x, eps), rtol=1e-6, atol=1e-6)
print("equal")
"""


@library("L23")
def a_compiled_model(place: Place) -> None:
    # in a process of its own: the checker of shapes, which these tests run under, cannot be compiled
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent / 'src'}"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.stdout == "equal\n", done.stderr
