"""The library used in ways that few try: no rows, threads, odd memory, 16 bits, copies. The same answer as ever."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vaelab
from faults.catalogue import Place, library
from faults.library import BRIEFLY, D, N, Z, model, numbers, rows_of, same, says
from vaelab import ELBO, IWAE, VAE, Noise, fit, likelihoods, load, memory, networks, posteriors, priors
from vaelab.data import open_source
from vaelab.errors import DataError, UsageError
from vaelab.evaluation import evidence_rows
from vaelab.objectives import iwae
from vaelab.part import inference
from vaelab.training import Rows, validation_bound


class Dropout(nn.Module):
    """A network whose answer depends on its mode."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.map, self.drop = nn.Linear(inputs, outputs), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.map(x))


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
        weighed = objective.samples if objective.weighs else 0
        held = validation_bound(run.model, Rows(run.splits["validation"]), weighed=weighed)
        assert best["bound"] == pytest.approx(held.bound, rel=1e-6), (
            "the bound at beta = 1, of the weights that are kept"
        )


@library("L22")
def totals_do_not_depend_on_batches(place: Place) -> None:
    part = model().double()
    rows = Rows(open_source(numbers(53)), dtype=torch.float64)
    values = []
    for block in (1, 7 * D * 20, 2**20):
        with patch.object(memory, "VALUES", block):
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
from faults.library import N, model, numbers, rows_of
from vaelab import Noise
from vaelab.objectives import elbo
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
