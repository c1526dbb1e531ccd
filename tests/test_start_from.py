"""Training that starts from another run: its weights where parts fit whole, its units, its architecture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import vaelab
from vaelab.cli import run as command
from vaelab.errors import UsageError
from vaelab.run import Run

STILL = {"lr": 1e-30, "epochs": 1, "progress": "off"}  # weights that do not move


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    np.savetxt("t.csv", np.random.default_rng(0).normal(3, 2, (200, 4)), delimiter=",", header="a,b,c,d", comments="")
    quick = ["--latent-dim", "2", "--hidden", "7", "--activation", "tanh", "--epochs", "4", "-q", "--no-report"]
    assert command(["train", "t.csv", *quick, "-o", "r"]) == 0
    return vaelab.load("r")


def same(one: torch.nn.Module, other: torch.nn.Module) -> dict[str, bool]:
    theirs = other.state_dict()
    return {k: k in theirs and torch.equal(v, theirs[k]) for k, v in one.state_dict().items()}


def test_it_begins_where_the_other_ended(begun: Run) -> None:
    again = vaelab.train("t.csv", start_from="r", **STILL)
    assert all(same(again.model, begun.model).values()), "hidden layers and activation come from the run too"
    assert again.score(samples=20).tolist() == begun.score(samples=20).tolist()
    other = vaelab.train("t.csv", latent_dim=2, hidden="7", activation="tanh", **STILL)
    assert not all(same(other.model, begun.model).values()), "else it starts by chance"


def test_other_rows_are_read_in_the_units_of_the_run(begun: Run) -> None:
    np.savetxt("u.csv", np.random.default_rng(1).normal(30, 9, (50, 4)), delimiter=",", header="a,b,c,d", comments="")
    again = vaelab.train("u.csv", start_from="r", **STILL)
    assert torch.equal(again.schema.scale, begun.schema.scale)
    assert again.score("t.csv", samples=20).tolist() == begun.score("t.csv", samples=20).tolist()


def test_what_does_not_fit_starts_anew_and_is_told(begun: Run) -> None:
    plan = vaelab.plan_run("t.csv", start_from="r", prior="vamp:components=5", epochs=1)
    assert "starts from the posterior, likelihood of another run; anew: prior" in plan.describe()
    vamp = vaelab.train("t.csv", start_from="r", prior="vamp:components=5", **STILL)
    kept = same(vamp.model, begun.model)
    assert all(kept[k] for k in kept if k.startswith(("posterior.", "likelihood.")))
    assert vamp.meta["started"] == plan.started
    assert not any("too-short" in str(finding) for finding in vamp.doctor(quick=True).findings)
    with pytest.raises(UsageError, match="none of its parts fits"):
        vaelab.train("t.csv", start_from="r", latent_dim=3, hidden="9", **STILL)
    with pytest.raises(UsageError, match="Leave --binarize out"):
        vaelab.train("t.csv", start_from="r", binarize="threshold", **STILL)


def test_a_run_that_started_from_another_is_gone_on_with(begun: Run) -> None:
    assert command(["train", "t.csv", "--start-from", "r", "--epochs", "2", "-q", "--no-report", "-o", "s"]) == 0
    assert f'start_from = "{Path("r").absolute()}"' in Path("s/config.toml").read_text()
    assert command(["train", "--config", "s/config.toml", "-q", "--no-report", "-o", "again"]) == 0
    assert Path("again/model.safetensors").read_bytes() == Path("s/model.safetensors").read_bytes()
