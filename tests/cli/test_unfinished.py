"""A run in its first training is opened at its best weights so far, and its records can be followed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import vaelab
from vaelab.cli import run as command
from vaelab.errors import DataError, ModelFileError
from vaelab.keeper import Keeper
from vaelab.objectives import ELBO
from vaelab.training import Rows, Settings, optimise
from vaelab.training.validate import validation_bound
from vaelab.web.explored import Explored
from vaelab.web.questions import Questions

QUICK = ["--latent-dim", "2", "--hidden", "8", "--batch-size", "9", "-q", "--no-report"]
EPOCHS = 6  # of six steps


@pytest.fixture
def copied_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Train on a small table, keeping the state at every step; the run's folder is copied when a step begins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(Keeper.__init__.__kwdefaults__, "every", 0.0)
    monkeypatch.setattr("vaelab.keeper.SHARE", 0)
    monkeypatch.setattr("vaelab.keeper.OFTEN", 0.0)
    rows = np.random.default_rng(0).normal(size=(60, 3))
    np.savetxt("t.csv", rows, delimiter=",", header="a,b,c", comments="")
    bound = ELBO.bound

    def arrange(step: int) -> None:
        def watched(self, terms, now):
            if now == step and torch.is_grad_enabled() and not Path("copy").exists():
                shutil.copytree("r", "copy")
            return bound(self, terms, now)

        monkeypatch.setattr(ELBO, "bound", watched)
        assert command(["train", "t.csv", *QUICK, "--epochs", str(EPOCHS), "--out", "r"]) == 0

    return arrange


def test_it_has_the_best_weights_so_far(copied_at: Callable[[int], None]) -> None:
    copied_at(6 * (EPOCHS - 1) + 3)
    assert not (Path("copy") / "model.safetensors").exists()
    got, whole = vaelab.load("copy"), vaelab.load("r")
    assert got.history is not None
    assert whole.history is not None
    assert got.history.stopped == "unfinished"
    assert [r["step"] for r in got.history.records] == [r["step"] for r in whole.history.records[: EPOCHS - 1]]
    assert got.history.best is not None
    judged = validation_bound(got.model, Rows(got.splits["validation"]).drawn(0), seed=0)
    assert judged.bound == got.history.best["bound"] == max(r["bound"] for r in got.history.records)
    assert got.model.training is False


def test_every_verb_and_the_explorer_take_it(copied_at: Callable[[int], None], capsys: pytest.CaptureFixture) -> None:
    copied_at(20)
    assert command(["generate", "copy", "-n", "3", "-o", "new.csv"]) == 0
    assert len(Path("new.csv").read_text().splitlines()) == 4
    assert command(["info", "copy"]) == ModelFileError.exit_code
    assert "no model file yet" in capsys.readouterr().err
    run = vaelab.load("copy")
    told = Questions(Explored(run)).history()
    assert told["going"]
    assert len(told["records"]) == len(Path("copy/metrics.jsonl").read_text().splitlines()) == 3
    with open("copy/metrics.jsonl", "a") as file:
        file.write(json.dumps({"epoch": 9, "loss": 1.0, "elbo": -1.0}) + "\n")
    assert Questions(Explored(run)).history()["records"][-1]["epoch"] == 9
    capsys.readouterr()


def test_before_any_checkpoint_and_of_other_rows_it_says_so(copied_at: Callable[[int], None]) -> None:
    copied_at(20)
    text = Path("t.csv").read_text().splitlines()
    Path("t.csv").write_text("\n".join([*text[:-1], "1,2,3"]))
    with pytest.raises(DataError, match=r"t\.csv has changed since copy began"):
        vaelab.load("copy")
    for path in Path("copy").glob("checkpoint*"):
        path.unlink()
    with pytest.raises(ModelFileError, match="no model and no checkpoint yet"):
        vaelab.load("copy")


def test_records_do_not_outlive_a_run_that_came_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("t.npy", np.random.default_rng(0).normal(size=(30, 3)))
    plan = vaelab.plan_run("t.npy", latent_dim=1, hidden="4", epochs=2)
    with Keeper(Path("r"), "t.npy", plan.options, plan.splits) as keeper:
        keeper.report(optimise(plan.model, plan.objective, Rows(plan.splits.train), None, Settings(epochs=2)))
        assert (Path("r") / "metrics.jsonl").exists()
    assert not Path("r").exists()
