"""The doctor is silent on healthy runs, names what ails sick ones, and says nothing it has no figure for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import vaelab
from oracles import LinearGaussian, rows
from vaelab.cli import run as vaelab_command
from vaelab.evaluation import Diagnosis, diagnose
from vaelab.evaluation.diagnose import RULES
from vaelab.evaluation.symptoms import Symptoms, measure
from vaelab.opening import load
from vaelab.run import Run


def curved(n: int, seed: int) -> np.ndarray:
    """Rows on a curved surface of two dimensions in six, with noise of 0.2."""
    rng = np.random.default_rng(seed)
    return np.tanh(rng.normal(size=(n, 2)) @ np.random.default_rng(99).normal(size=(2, 6))) + 0.2 * rng.normal(
        size=(n, 6)
    )


def digits(binary: bool = False) -> np.ndarray:
    images = load_digits().images.astype(np.uint8)
    return (images > 7).astype(np.uint8) if binary else images


def trained(source: Any, **options: Any) -> Run:
    return vaelab.train(source, **{"progress": "off", "threads": 1, "hidden": "50", **options})


def judged(source: Any, others: Any = None, **options: Any) -> Diagnosis:
    return trained(source, **options).doctor(others)


SMALL = {"latent_dim": 4, "epochs": 30}


@lru_cache
def collapsed_digits() -> Run:
    return trained("digits", beta=50, **SMALL)


LONG = {"latent_dim": 6, "hidden": "200", "batch_size": 20, "epochs": 250, "validation": 0}
HEALTHY: dict[str, Callable[[], Diagnosis]] = {
    "grey digits": lambda: judged("digits", **SMALL),
    "binary digits": lambda: judged(digits(binary=True), latent_dim=6, epochs=60),  # after 30 it still rises: 1.4 nats
    "a curved table": lambda: judged(curved(600, 1), latent_dim=2, epochs=120),
}
SICK: dict[str, tuple[str, Callable[[], Diagnosis]]] = {
    "digits, beta 50": ("collapse", lambda: collapsed_digits().doctor()),
    "a table, beta 20": ("collapse", lambda: judged(curved(600, 1), beta=20, latent_dim=2, epochs=60)),
    "linear, wide noise": (
        "collapse",
        lambda: judged(curved(600, 1), recipe="linear", latent_dim=2, likelihood="gaussian:scale=5", epochs=200),
    ),
    "100 digits, no patience": (
        "over-fit",
        lambda: judged(digits(True)[:100], **{**LONG, "validation": 0.2, "patience": 10**6}),
    ),
    "60 grey digits": ("over-fit", lambda: judged(digits()[:60], digits()[600:], **LONG)),
    "60 binary digits": ("over-fit", lambda: judged(digits(True)[:60], digits(True)[600:], **LONG)),
    "pixels that never vary": (
        "variance-at-floor",
        lambda: judged("digits", likelihood="gaussian:scale=entry", latent_dim=4, lr=0.03, epochs=80),
    ),
    "a rate of 1e-6": ("learning-rate", lambda: judged("digits", latent_dim=4, lr=1e-6, epochs=15)),
    "beta 0.003": (
        "prior-hole",
        lambda: judged(digits(True), beta=0.003, validation=0, latent_dim=6, hidden="100", epochs=40),
    ),
}


@pytest.mark.parametrize("make", HEALTHY.values(), ids=HEALTHY)
def test_a_healthy_run_is_not_called_sick(make: Callable[[], Diagnosis]) -> None:
    found = make()
    assert not found.findings, [str(finding) for finding in found.findings]
    assert found.symptoms.misses is not None, "the figures were looked at"
    assert found.symptoms.train_gain is not None


def test_a_real_table_is_not_called_sick(real_data: Path) -> None:
    found = judged(real_data / "tables" / "wine_red.csv.gz", columns="1-11", latent_dim=2, epochs=60)
    assert not found.findings, [str(finding) for finding in found.findings]


@pytest.mark.parametrize(("name", "make"), SICK.values(), ids=SICK)
def test_a_sick_run_is_named(name: str, make: Callable[[], Diagnosis]) -> None:
    found = {finding.name: finding for finding in make().findings}
    assert name in found, list(found)
    assert not found[name].harmless
    assert "--" in found[name].remedy
    json.dumps(found[name].json(), allow_nan=False)


# ---- exact answers


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("noise", [0.3, 0.6, 1.2, 2.5])
def test_active_units_of_twelve_linear_models(noise: float, beta: float) -> None:
    """The optimum of a linear beta-VAE with noise s2 has sqrt(l - beta s2) for each eigenvalue l above beta s2."""
    eigenvalues, weight = np.array([4.0, 2.0, 1.0, 0.45]), beta * noise
    W = np.diag(np.sqrt(np.clip(eigenvalues - weight, 0, None)))
    W = np.concatenate([W, np.zeros((2, 4))])
    rng = np.random.default_rng(5)
    x = np.linalg.qr(rng.normal(size=(400, 7)) - 0.5)[0][:, 1:]
    x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T, bias=True))).T  # covariance I, exactly
    x = x * np.sqrt([*eigenvalues, min(weight, 0.4), min(weight, 0.4)])
    model = LinearGaussian(W, np.zeros(6), weight).vae(scale=math.sqrt(noise))
    found = diagnose(model, None, rows(x), quick=True)
    active = int((eigenvalues > weight).sum())
    assert found.symptoms.active_units == active
    assert ("collapse" in [finding.name for finding in found.findings]) == (active == 0)
    assert found.symptoms.unused == 4 - active


def test_quick_is_a_part_of_the_whole(tmp_path: Path) -> None:
    run = collapsed_digits()
    quick, whole = run.doctor(quick=True), run.doctor()
    assert [f.name for f in quick.findings] == [f.name for f in whole.findings] == ["collapse"]
    measured = {name: value for name, value in quick.symptoms.json().items() if value is not None}
    assert measured.items() <= whole.symptoms.json().items()
    assert run.doctor().json() == whole.json(), "the same run gives the same figures"
    run.save(tmp_path / "alone.safetensors")
    alone = vaelab.doctor(tmp_path / "alone.safetensors", "digits")
    assert [f.name for f in alone.findings] == ["collapse"]
    assert alone.symptoms.train_gain is None
    with pytest.raises(vaelab.errors.UsageError, match="Give a SOURCE"):
        load(tmp_path / "alone.safetensors").doctor()


def test_looking_changes_neither_the_model_nor_the_global_state(untouched: Any) -> None:
    run = trained("digits", latent_dim=2, epochs=2)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    with untouched():
        run.doctor()
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    assert all(parameter.requires_grad for parameter in run.model.parameters())


# ---- each rule by itself: silent on health, silent where its figures are missing, loud beyond its reference

WELL = Symptoms(
    latents=4, active_units=4, unused=0, kl=8.0, information=4.0, own_code=30.0, spread=0.5, misses=0.2, strays=0.05,
    mismatch=0.3, scale_over_step=5.0, scale_entry="column 'a'", scale_extreme=2.0, code_extreme=2.0, train_gain=20.0,
    held_gain=18.0, gain_error=1.0, entries=64, rising=0.02, setback=0.1, fallen=1.0, best_epoch=30, last_epoch=50,
    travelled=1.0, steps=5000,
)  # fmt: skip
ILL: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("collapse", {"active_units": 0, "kl": 0.01}, {}),
    ("unused-latents", {"unused": 3}, {}),
    ("decoder-ignores-z", {"own_code": 0.001}, {}),
    ("over-fit", {"held_gain": 5.0}, {}),
    ("over-fit", {"fallen": 15.0}, {}),
    ("prior-hole", {"misses": 0.7, "mismatch": 3.0}, {}),
    ("prior-hole", {"strays": 0.95, "mismatch": 3.0}, {}),
    ("prior-hole", {"misses": 0.95}, {}),
    ("variance-at-floor", {"scale_over_step": 0.02}, {}),
    ("variance-at-floor", {"scale_extreme": 9.5}, {}),
    ("variance-at-floor", {"code_extreme": 9.5}, {}),
    ("learning-rate", {"skipped": 3, "first_bad": "step 8: the objective"}, {}),
    ("learning-rate", {"no_best": True}, {}),
    ("learning-rate", {"setback": 3.0}, {}),
    ("learning-rate", {"rising": 0.24}, {"lr": 1e-5}),
    ("learning-rate", {"travelled": 0.001}, {"lr": 1e-5}),
    ("learning-rate", {"train_gain": -30.0, "held_gain": -31.0}, {"lr": 0.003}),
    ("too-short", {"rising": 0.24}, {"lr": 0.003}),
    ("too-short", {"travelled": 0.001}, {"lr": 0.003}),
]


def named(symptoms: Symptoms, setup: dict[str, Any]) -> list[str]:
    return [finding.name for rule in RULES if (finding := rule(symptoms, setup)) is not None]


@pytest.mark.parametrize(("name", "changed", "setup"), ILL)
def test_each_rule_by_itself(name: str, changed: dict[str, Any], setup: dict[str, Any]) -> None:
    assert named(WELL, setup) == []
    assert named(replace(WELL, **changed), setup) == [name]


def test_no_rule_speaks_without_its_figure() -> None:
    assert named(Symptoms(latents=4, active_units=4), {}) == []


def test_a_gap_within_its_error_is_no_over_fit() -> None:
    assert named(replace(WELL, held_gain=5.0, gain_error=4.0), {}) == []
    assert named(replace(WELL, fallen=15.0), {"beta": 0.1}) == [], "nobody asked for the bound at beta = 1"


def test_codes_beyond_the_prior_are_no_hole() -> None:
    assert named(replace(WELL, strays=0.6, mismatch=3.0), {}) == []
    assert named(replace(WELL, misses=0.6, mismatch=0.5), {}) == []


def test_repeated_values_and_their_step() -> None:
    """A column of 0, 1, 2 has a step of 1 in the user's units; a scale of 0.05 there is a twentieth of it."""
    model = LinearGaussian.random(3, 2).vae(scale=0.05)
    x = np.stack([np.arange(60) % 3, np.linspace(0, 9, 60), np.linspace(0, 7, 60)], 1).astype(float)
    found = measure(model, None, rows(x), None, {}, quick=True)
    assert found.scale_over_step == pytest.approx(0.05)
    assert found.scale_entry == "entry 0 of 3"
    assert found.scale_extreme == pytest.approx(-math.log(0.05))


# ---- the command


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    how = ["--latent-dim", "3", "--hidden", "16", "-q", "--threads", "1"]
    assert vaelab_command(["train", "digits", "--beta", "50", "--epochs", "15", *how, "--out", "sick"]) == 0
    capsys.readouterr()
    assert vaelab_command(["doctor", "sick"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("collapse\n  KL(q(z | x) || p(z)), nats per row: ")
    assert "--beta 1 (it is 50)" in said.out
    assert not said.err
    assert vaelab_command(["doctor", "sick", "--strict", "--json"]) == 7
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert "collapse" in [finding["name"] for finding in document["findings"]]
    assert said.err.startswith("error: sick: found collapse")
    assert document["figures"]["active_units"] == 0
    np.savetxt("table.csv", curved(300, 3), delimiter=",", header="a,b,c,d,e,f", comments="")
    well = ["--latent-dim", "2", "--hidden", "50", "-q", "--threads", "1", "--epochs", "150"]
    assert vaelab_command(["train", "table.csv", *well, "--out", "well"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert vaelab_command(["doctor", "well", "--strict"]) == 0
    assert capsys.readouterr().out.startswith("nothing found\nlooked at, ")
