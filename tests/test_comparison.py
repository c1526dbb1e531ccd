"""Runs side by side: figures are those of evaluate, what cannot be compared is refused, the picture is whole."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaelab
from vaelab.cli import run as command
from vaelab.comparison import Comparison
from vaelab.errors import UsageError
from vaelab.opening import load
from vaelab.run import Run

HOW = {"hidden": "16", "epochs": 3, "progress": "off", "threads": 1}


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    """Small runs on the digits: two alike, and one each that no figure of theirs can stand beside."""
    return {
        "a": vaelab.train("digits", latent_dim=2, **HOW),
        "b": vaelab.train("digits", latent_dim=3, beta=4, **HOW),
        "codes": vaelab.train("digits", latent_dim=2, recipe="autoencoder", **HOW),
        "other rows": vaelab.train("digits", latent_dim=2, seed=1, **HOW),
        "density": vaelab.train("digits", latent_dim=2, likelihood="gaussian", **HOW),
        "binary": vaelab.train("digits", latent_dim=2, binarize="threshold", **HOW),
    }


@pytest.fixture(scope="module")
def pair(runs: dict[str, Run]) -> Comparison:
    return vaelab.compare([runs["a"], runs["b"]], samples=50, names=["a", "b"])


def test_figures_are_those_of_evaluate(runs: dict[str, Run], pair: Comparison) -> None:
    alone = {name: runs[name].evaluate(samples=50) for name in "ab"}
    for run in pair.runs:
        for figure in ("reconstruction", "kl", "elbo", "log_evidence"):
            assert getattr(run, figure) == getattr(alone[run.name], figure)
    best, other = sorted("ab", key=lambda name: -alone[name].log_evidence.value)
    assert pair.best == best
    gap = next(run for run in pair.runs if run.name == other).evidence_difference
    assert gap.value == pytest.approx(alone[other].log_evidence.value - alone[best].log_evidence.value, abs=1e-9)
    assert gap.se > 0


def test_table_and_document(pair: Comparison) -> None:
    head, titles, first, second, shared, differing, *facts = str(pair).splitlines()
    assert head.startswith("180 rows (validation), nats per row")
    assert titles.split() == ["run", "reconstruction", "KL", "ELBO", "log", "evidence", "evidence", "-", "best's"]
    assert [line.split()[0] for line in (first, second, *facts)] == ["a", "b", "a", "b"]
    assert (first + second).count("best") == 1
    assert "prior gaussian" in shared
    assert "objective" not in shared
    assert ["objective" in differing, "latents" in differing, "prior" in differing] == [True, True, False]
    document = json.loads(json.dumps(pair.json(), allow_nan=False))
    assert [entry["run"] for entry in document["runs"]] == ["a", "b"]
    assert document["runs"][1]["objective"] == "elbo:beta=4"
    assert set(document["runs"][0]["elbo_difference"]) == {"value", "se"}


def test_a_run_with_itself(runs: dict[str, Run]) -> None:
    found = vaelab.compare([runs["a"], runs["a"]], samples=5, names=["a", "a"])
    assert [run.name for run in found.runs] == ["a (1)", "a (2)"]
    gap = found.runs[1].elbo_difference
    assert (gap.value, gap.se) == (0.0, 0.0)


def test_a_model_without_a_bound_stands_beside_with_its_reconstruction(runs: dict[str, Run]) -> None:
    found = vaelab.compare([runs["codes"], runs["a"]], samples=5)
    assert (found.runs[0].elbo, found.best) == (None, "run 2")
    assert found.runs[0].reconstruction.value < 0
    assert found.picture().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ("other rows", "not judged on the same rows"),
        ("density", "the log of a probability in the first and the log of a density in the second"),
        ("binary", "of values binarised by threshold"),
    ],
)
def test_what_cannot_be_compared_is_refused_naming_both(runs: dict[str, Run], other: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"a and {other}.*{why}"):
        vaelab.compare([runs["a"], runs[other]], samples=5, names=["a", other])


def test_rows_that_are_given_make_other_splits_comparable(runs: dict[str, Run]) -> None:
    found = vaelab.compare([runs["a"], runs["other rows"]], "digits", samples=5)
    assert (found.rows, found.split) == (1797, "given")
    with pytest.raises(UsageError, match="at least two runs, got 1"):
        vaelab.compare([runs["a"]])


def test_the_picture(pair: Comparison) -> None:
    image = np.asarray(Image.open(io.BytesIO(pair.picture())).convert("RGB")).astype(int)
    assert image.shape[1] > 1200, "readable at half its size"
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):  # both runs are drawn, each in its colour
        assert (np.abs(image - colour).sum(2) < 12).sum() > 100
    assert pair.picture() == pair.picture(), "the same figures give the same bytes"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, latents in (("one", "2"), ("two", "3")):
        how = ["--hidden", "16", "--epochs", "2", "--latent-dim", latents, "-q", "--threads", "1"]
        assert command(["train", "digits", *how, "--out", name]) == 0
    capsys.readouterr()
    assert command(["compare", "one", "two", "--samples", "20", "-o", "both.png", "--json"]) == 0
    said = capsys.readouterr()
    assert [run["run"] for run in json.loads(said.out)["runs"]] == ["one", "two"]
    assert said.err == "picture  both.png\n"
    assert Path("both.png").read_bytes().startswith(b"\x89PNG")
    assert command(["compare", "one", "two", "-o", "both.png"]) == 2
    assert "--force" in capsys.readouterr().err
    assert command(["compare", "one", "two", "-o", "both.pdf"]) == 2
    assert "ends in .png" in capsys.readouterr().err
    load("one").save(tmp_path / "alone.safetensors")
    assert command(["compare", "alone.safetensors", "two", "--samples", "5"]) == 2
    assert "does not know its data" in capsys.readouterr().err
