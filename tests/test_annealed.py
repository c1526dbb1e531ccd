"""Annealed importance sampling and bidirectional Monte Carlo, on models whose log p(x) is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from oracles import LinearGaussian, close, rows
from vaelab import Run, models, networks, posteriors, priors, recipes, train
from vaelab.cli import run as command
from vaelab.errors import UsageError
from vaelab.evaluation import annealed_rows, evaluate_model, inference_gaps, simulated
from vaelab.likelihoods import Bernoulli

TRUTH = LinearGaussian.random(5, 2, seed=3, s2=1.5).rotated()


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_both_sides_hold_the_exact_evidence_of_the_linear_model(start: str) -> None:
    """lower <= log p(x) <= upper within four errors over 60 rows simulated from the model, 0.05 nats apart at most."""
    model = TRUTH.vae()
    made, z = simulated(model, rows(TRUTH.sample(3)), 60)
    exact = torch.from_numpy(TRUTH.log_px(made.data.numpy()))
    found = annealed_rows(model, made, temperatures=60, chains=6, leapfrog=2, start=start, exact_z=z)
    assert found.upper is not None
    for bound, sign in ((found.lower, 1), (found.upper, -1)):
        gap = sign * (bound - exact)
        se = gap.std() / 60**0.5
        assert se < 0.02
        assert gap.mean() < 4 * se
    gap = found.upper - found.lower
    assert -4 * gap.std() / 60**0.5 < gap.mean() < 0.05


def test_more_temperatures_close_the_gap() -> None:
    made, z = simulated(TRUTH.vae(), rows(TRUTH.sample(3)), 80)
    gaps = []
    for temperatures in (4, 40):
        found = annealed_rows(TRUTH.vae(), made, temperatures=temperatures, chains=1, leapfrog=2, exact_z=z)
        gaps.append((found.upper - found.lower).mean().item())
    assert gaps[1] < 0.3 * gaps[0]


def test_a_row_does_not_depend_on_its_company(monkeypatch: pytest.MonkeyPatch) -> None:
    x = TRUTH.sample(7)
    together = annealed_rows(TRUTH.vae(), rows(x), temperatures=3, chains=3, leapfrog=1)
    monkeypatch.setattr("vaelab.memory.VALUES", 3 * 5 * 4)  # four rows in a block
    apart = annealed_rows(TRUTH.vae(), rows(x), temperatures=3, chains=3, leapfrog=1)
    close(apart.lower, together.lower, rel=1e-9)
    again = annealed_rows(TRUTH.vae(), rows(x), temperatures=3, chains=3, leapfrog=1, seed=1)
    assert (again.lower != together.lower).all()


def test_what_was_not_observed_is_left_out() -> None:
    """log p of the observed entries, from the exact posterior given them."""
    x, seen = TRUTH.sample(6), np.array([True, False, True, True, False])
    observed = np.tile(seen, (6, 1))
    encoder = TRUTH.encoder(seen)
    found = annealed_rows(
        TRUTH.vae("full", encoder=encoder),
        rows(x, observed=observed),
        temperatures=2,
        chains=2,
        leapfrog=1,
        start="posterior",
    )
    close(found.lower, TRUTH.log_px(x, seen), rel=1e-8)


def test_simulated_rows_come_from_the_model() -> None:
    made, z = simulated(TRUTH.vae(), rows(TRUTH.sample(3)), 4000)
    x = made.data.numpy()
    error = np.sqrt(np.diag(TRUTH.C) / 4000)
    assert (np.abs(x.mean(0) - TRUTH.m) < 5 * error).all()
    np.testing.assert_allclose(np.cov(x.T), TRUTH.C, atol=5 * np.diag(TRUTH.C).max() * (2 / 4000) ** 0.5)
    rest = x - z.numpy() @ TRUTH.W.T - TRUTH.m
    assert np.abs(rest.var() / TRUTH.s2 - 1) < 5 * (2 / 20000) ** 0.5, "z is not what x came from"


def test_evaluation_in_the_users_units() -> None:
    """The Jacobian of the scaling is in lower and upper, and in no gap."""
    data = rows(TRUTH.sample(40) * 3 + 1, loc=torch.ones(5), scale=torch.full((5,), 3.0))
    how = {"samples": 2, "estimator": "bdmc", "temperatures": 2, "chains": 2, "most": 20}
    user, plain = (evaluate_model(TRUTH.vae(), data, units=u, **how) for u in ("user", "standardised"))
    assert (user.rows, user.split) == (20, "simulated")
    shift = -5 * np.log(3)
    close(user.log_evidence.value - plain.log_evidence.value, shift, rel=1e-9)
    close(user.annealing.upper.value - plain.annealing.upper.value, shift, rel=1e-9)
    close(user.annealing.gap.value, plain.annealing.gap.value, rel=1e-9)


@pytest.fixture(scope="module")
def linear_run() -> Run:
    return train(TRUTH.sample(90), latent_dim=2, hidden="8", epochs=3, progress="off")


def test_the_command_says_what_was_done(linear_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    linear_run.save(tmp_path / "run.safetensors")
    np.save(tmp_path / "x.npy", TRUTH.sample(9))
    quick = ["--temperatures", "2", "--chains", "2", "--samples", "3", "-q"]
    for kind, rest in (("ais", []), ("bdmc", ["--rows", "5"])):
        line = [
            "evaluate",
            str(tmp_path / "run.safetensors"),
            str(tmp_path / "x.npy"),
            "--estimator",
            kind,
            *quick,
            *rest,
        ]
        assert command(line) == 0
        text = capsys.readouterr().out
        assert "annealed, 2 temperatures, 2 chains" in text
        assert ("upper bound" in text) == (kind == "bdmc")
        assert command([*line, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        found = document["log_evidence"]
        assert (found["kind"], found["temperatures"], found["chains"]) == (kind, 2, 2)
        assert (document["rows"], document["split"]) == ((9, "given") if kind == "ais" else (5, "simulated"))
        assert ({"lower", "upper", "gap"} <= set(found)) == (kind == "bdmc")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            recipes.RECIPES["hierarchical"]((5,), (3, 2))[0] if "hierarchical" in recipes.RECIPES else None,
            "one continuous",
        ),
        (recipes.svae((5,), 3)[0], "density on R"),
    ],
)
def test_what_cannot_be_annealed_is_refused(model: torch.nn.Module, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        annealed_rows(model, rows(TRUTH.sample(3)))


def test_arguments_that_make_no_sense(linear_run: Run) -> None:
    x = TRUTH.sample(3)
    for how, words in (
        ({"temperatures": 0}, "at least 1"),
        ({"chains": 0}, "at least 1"),
        ({"start": "middle"}, "start is prior or posterior"),
    ):
        with pytest.raises(UsageError, match=words):
            annealed_rows(TRUTH.vae(), rows(x), **how)
    with pytest.raises(UsageError, match="estimator 'aiss' is unknown"):
        linear_run.evaluate(x, estimator="aiss")
    with pytest.raises(UsageError, match="at least 1 row"):
        linear_run.evaluate(x, most=0)
    code = posteriors.Point(networks.MLP(5, 2, (3,)), 2)
    decoder = Bernoulli(networks.MLP(2, 5, (3,)), (5,))
    point = models.VAE(prior=priors.Gaussian(2), posterior=code, likelihood=decoder)
    with pytest.raises(UsageError, match="annealing cannot start from it"):
        annealed_rows(point, rows(x > 0), start="posterior")


def test_a_family_that_holds_the_posterior_has_no_approximation_gap() -> None:
    """Full Gaussian q with a wrong mean: all of the gap is the encoder's, 0.5 d' S^-1 d."""
    V, c, S = TRUTH.encoder()
    d = np.array([0.5, -0.4])
    found = inference_gaps(
        TRUTH.vae("full", encoder=(V, c + d, S)), rows(TRUTH.sample(8)), samples=500, temperatures=1, chains=2
    )
    truth = 0.5 * d @ np.linalg.solve(S, d)
    assert abs(found.amortisation.value - truth) < 5 * np.sqrt(2 * truth / 4000)
    assert -1e-9 < found.approximation.value < 0.01
    assert (found.kind, found.rows) == ("iwae", 8)


def test_the_command_splits_the_gap(linear_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    linear_run.save(tmp_path / "run.safetensors")
    np.save(tmp_path / "x.npy", TRUTH.sample(9))
    line = ["evaluate", str(tmp_path / "run.safetensors"), str(tmp_path / "x.npy"), "--gaps", "--rows", "4", "-q"]
    assert command([*line, "--samples", "3", "--temperatures", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["gaps"]
    assert found["rows"] == 4
    both = found["approximation"]["value"] + found["amortisation"]["value"]
    assert found["inference"]["value"] == pytest.approx(both)
    assert command([*line, "--samples", "3", "--temperatures", "1"]) == 0
    assert "amortisation" in capsys.readouterr().out


def test_gaps_that_mean_nothing_are_refused() -> None:
    x = rows(TRUTH.sample(3))
    for model, words in (
        (recipes.hierarchical((5,), (3, 2))[0], "one continuous"),
        (recipes.semi_amortised((5,), 2)[0], "is refined"),
        (recipes.autoencoder((5,), 2)[0], "is a PointMass"),
    ):
        with pytest.raises(UsageError, match=words):
            inference_gaps(model, x)
