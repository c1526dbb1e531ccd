"""Generated rows against held-out rows: from a model whose samples are known to be right, or known to be wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from oracles import LinearGaussian, dataset
from vaelab import Run, load, train
from vaelab.cli import run as command
from vaelab.errors import UsageError
from vaelab.evaluation import disentanglement
from vaelab.evaluation.samples import mmd, two_sample
from vaelab.use import measure

TRUTH = LinearGaussian.random(5, 2, seed=3)


def parts(n: int = 400, observed: np.ndarray | None = None):
    """Training and held-out rows of the linear model."""
    x = TRUTH.sample(2 * n, seed=11)
    mask = (None, None) if observed is None else (observed[:n], observed[n:])
    return [dataset(x[some], observed=m) for some, m in zip((slice(0, n), slice(n, None)), mask, strict=True)]


def test_the_true_model_gets_what_training_rows_get() -> None:
    found = measure(TRUTH.vae(), *parts())
    assert found.reference is not None
    for side in (found.generated, found.reference):
        assert abs(side.two_sample.value - 0.5) < 5 * side.two_sample.se
        assert side.mmd.p > 1e-3
        assert abs(side.density.value - 1) < 0.15
        assert min(side.precision.value, side.recall.value, side.coverage.value) > 0.9
    assert abs(found.generated.frechet - found.reference.frechet) < 0.1
    assert abs(found.nearer.value - 0.5) < 5 * found.nearer.se


def test_a_narrow_model_loses_recall_and_a_wide_one_precision() -> None:
    train_rows, held = parts()
    narrow = LinearGaussian(0.2 * TRUTH.W, TRUTH.m, 0.1 * TRUTH.s2).vae()
    wide = LinearGaussian(TRUTH.W, TRUTH.m, 9 * TRUTH.s2).vae()
    few = measure(narrow, train_rows, held).generated
    assert few.precision.value > 0.97 > 0.5 > few.recall.value
    assert few.density.value > 1.5
    far = measure(wide, train_rows, held).generated
    assert far.precision.value < 0.5 < 0.8 < far.recall.value
    for bad in (few, far):
        assert bad.two_sample.value - 0.5 > 10 * bad.two_sample.se
        assert bad.mmd.p == pytest.approx(1 / 201)
        assert bad.frechet > 1


def test_entries_that_real_rows_lack_are_taken_from_generated_ones() -> None:
    observed = np.random.default_rng(0).random((800, 5)) > 0.3
    x = parts(observed=observed)
    found = measure(TRUTH.vae(), *x).generated
    assert abs(found.two_sample.value - 0.5) < 5 * found.two_sample.se
    assert found.mmd.p > 1e-3


def test_without_training_rows_there_is_no_reference() -> None:
    found = measure(TRUTH.vae(), None, parts()[1], samples=150)
    assert (found.rows, found.held, found.reference, found.nearer) == (150, 150, None, None)
    assert found == measure(TRUTH.vae(), None, parts()[1], samples=150), "not deterministic"
    with pytest.raises(UsageError, match="19 are too few"):
        measure(TRUTH.vae(), None, parts(19)[1])
    with pytest.raises(UsageError, match="samples must be at least 1"):
        measure(TRUTH.vae(), None, parts()[1], samples=0)


def test_p_of_equal_distributions_is_even() -> None:
    x = torch.randn(300, 40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = np.array([mmd(some[:20], some[20:], 1.0, permutations=99, seed=i).p for i, some in enumerate(x)])
    for level in (0.05, 0.5):
        assert abs((p <= level).mean() - level) < 5 * math.sqrt(level * (1 - level) / 300)


def test_the_classifier_is_right_half_of_the_time_on_equal_distributions() -> None:
    x = torch.randn(20, 120, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = [two_sample(some[:60], some[60:]) for some in x]
    z = np.array([(one.value - 0.5) / one.se for one in found])
    assert abs(z.mean()) < 5 / math.sqrt(20)
    assert z.std() < 1.7  # folds share rows, so the spread is a little above 1


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("digits") / "run"
    quick = ["--latent-dim", "2", "--hidden", "16", "--epochs", "3", "-q", "--no-report", "--condition", "label"]
    assert command(["train", "digits", *quick, "--out", str(out)]) == 0
    return out


def test_the_command_prints_both_sides(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["measure", str(digits), "--samples", "200"]) == 0
    text = capsys.readouterr().out
    assert "200 generated rows against 180 rows not trained on (validation)" in text
    assert all(word in text for word in ("precision", "recall", "mmd", "two sample", "training rows"))
    assert command(["measure", str(digits), "--samples", "200", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = load(digits).measure(samples=200)
    assert document == found.json()
    assert set(document["generated"]) == set(document["reference"]) == set(vars(found.generated))
    assert document["generated"]["precision"]["value"] < document["reference"]["precision"]["value"]


def test_rows_that_were_trained_on_are_no_judge(tmp_path: Path) -> None:
    x = TRUTH.sample(60)
    run = train(x, latent_dim=2, hidden="8", epochs=1, validation=0, progress="off")
    with pytest.raises(UsageError, match="no rows were held out"):
        run.measure()
    assert run.measure(TRUTH.sample(30, seed=2)).held == 30
    again = load(run.save(tmp_path / "m.safetensors"))
    assert again.measure(TRUTH.sample(30, seed=2)).reference is None


def test_many_pixels_are_seen_through_components(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (60, 9, 11)).astype(np.uint8)
    run: Run = train(grey, latent_dim=2, hidden="8", epochs=1, validation=25, binarize="stochastic", progress="off")
    found = run.measure()
    assert found.features == "35 principal components of 35 real rows, and the length of the rest"
    assert (found.rows, found.held) == (35, 25)


@pytest.mark.parametrize(
    ("codes", "known", "words"),
    [
        (np.zeros((9, 1)), {"v": np.arange(9) % 2}, "2 dimensions or more"),
        (np.zeros((9, 2)), {}, "no factor was given"),
        (np.zeros((9, 2)), {"v": np.arange(8) % 2}, "factor v has shape"),
        (np.zeros((9, 2)), {"v": np.array([0.5, np.nan, *range(7)])}, "factor v has NaN"),
        (np.zeros((9, 2)), {"v": np.zeros(9)}, "factor v never varies"),
        (np.zeros((9, 2)), {"v": np.arange(9) // 2}, "one row only"),
        (np.full((9, 2), np.inf), {"v": np.arange(9) % 2}, "not finite"),
    ],
)
def test_codes_and_factors_that_cannot_be_scored(codes: np.ndarray, known: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        disentanglement(codes, known)
