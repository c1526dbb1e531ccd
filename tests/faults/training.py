"""Training that goes wrong, machines that are too small, and what a crash leaves behind."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from faults.catalogue import QUICK, Place, command, library
from vaelab.cli import run
from vaelab.errors import EnvironmentFault, TrainingError
from vaelab.fitting import train
from vaelab.objectives import ELBO
from vaelab.opening import load
from vaelab.training.checkpoint import FILE, PREVIOUS, load_checkpoint


def spoilt(place: Place, steps: range, spoil) -> list[str]:
    """Patch the objective at some steps of training, and run a command; return what it left in its folder."""
    bound = ELBO.bound

    def watched(self, terms, step):
        value = bound(self, terms, step)
        return spoil(value) if step in steps and torch.is_grad_enabled() else value

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ELBO, "bound", watched)
        code = run(["train", place.models.table.parent.joinpath("people.csv").as_posix(), *LONG, "--out", "run"])
    left = sorted(path.name for path in Path("run").iterdir()) if Path("run").exists() else []
    return [str(code), *left]


LONG = ("--epochs", "12", "--batch-size", "6", "--hidden", "8", "--latent-dim", "2", "-q")  # 6 steps an epoch


def stopped(place: Place, step: int = 40) -> str:
    """Return a run that was stopped by Ctrl-C, twice, so that it has a checkpoint and the one before."""
    for at in (step // 2, step):
        bound = ELBO.bound

        def watched(self, terms, now, bound=bound, at=at):
            if now == at and torch.is_grad_enabled():
                os.kill(os.getpid(), signal.SIGINT)
            return bound(self, terms, now)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ELBO, "bound", watched)
            begin = [str(place.models.folder / "people.csv"), *LONG, "--out", "run"]
            place.models.table  # noqa: B018  its table exists from now on
            assert run(["train", *(begin if at < step else ["--resume", "run", "-q"])]) == 130
    return "run"


# ---- losses


@library("C41")
def loss_not_finite(place: Place) -> None:
    code, *left = spoilt(place, range(30, 999), lambda bound: bound * float("nan"))
    assert code == "6"
    assert left == ["bad_steps.jsonl", "config.toml", "metrics.jsonl", "model.safetensors"]
    first = json.loads(Path("run/bad_steps.jsonl").read_text().splitlines()[0])
    assert (first["step"], first["fault"], first["what"]) == (31, "not finite", "the objective")
    assert 1 <= len(first["rows"]) <= 6
    assert all(1 <= row <= 40 for row in first["rows"])
    kept = load("run")
    assert kept.meta["best"]["step"] <= 30
    assert all(torch.isfinite(p).all() for p in kept.model.parameters())


@library("C41")
def loss_not_finite_for_a_while(place: Place) -> None:
    code, *left = spoilt(place, range(30, 37), lambda bound: bound + float("inf"))
    assert code == "0"
    assert "bad_steps.jsonl" in left
    assert load("run").meta["skipped_steps"] == 7


@library("C41")
def loss_not_finite_from_the_start(place: Place) -> None:
    assert spoilt(place, range(999), lambda bound: bound * float("nan")) == ["6"], "nothing worth keeping, nothing kept"


@library("C42")
def loss_diverging(place: Place) -> None:
    code, *left = spoilt(place, range(30, 999), lambda bound: bound - 1e7)
    assert code == "6"
    assert "model.safetensors" in left
    first = json.loads(Path("run/bad_steps.jsonl").read_text().splitlines()[0])
    assert (first["step"], first["fault"]) == (31, "diverging")
    assert first["what"].startswith("the loss grew to 1e+07 per row, ")
    assert "latent" in first["what"] or "log p(x | z)" in first["what"]
    assert load("run").meta["stopped"] == "diverging"


@library("C42")
def loss_falling_far_is_no_divergence(place: Place) -> None:
    assert spoilt(place, range(30, 999), lambda bound: bound + 1e7)[0] == "0"


# ---- sizes


@command("C45", 0)
def batch_larger_than_the_rows(place: Place) -> list[str]:
    place.table("t.csv", "a,b", lambda i: f"{i}.5,{i * i}.25")
    return [
        "train",
        "t.csv",
        "--epochs",
        "2",
        "--hidden",
        "8",
        "--latent-dim",
        "2",
        "--batch-size",
        "5000",
        "--out",
        "r",
    ]


@command("C45", 0)
def last_batch_of_one_row(place: Place) -> list[str]:
    place.table("t.csv", "a,b", lambda i: f"{i}.5,{i * i}.25")
    return ["train", "t.csv", *QUICK, "--batch-size", "7", "--out", "r"]  # 36 rows: 5 x 7 + 1


@command("C46", 5, "training needs at least", "GB", "are free on cpu", "--batch-size")
def memory_short_for_the_batch(place: Place) -> list[str]:
    return ["train", "digits", "--objective", "iwae:samples=10000000", "--device", "cpu", "--out", "r"]


@command("C46", 5, "memory ran out", "this model", "--hidden")
def memory_short_for_the_model(place: Place) -> list[str]:
    return ["train", "digits", "--hidden", "3000000,3000000", "--out", "r"]


def short(sizes: set[int]):
    """Return a bound that runs out of memory for batches of these sizes."""
    bound = ELBO.bound

    def watched(self, terms, step):
        if torch.is_grad_enabled() and len(terms.x) in sizes and step == 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return bound(self, terms, step)

    return watched


@library("C46")
def memory_runs_out_in_a_step(place: Place) -> None:
    rows = torch.randn(60, 3, dtype=torch.float64).numpy()
    how = {"epochs": 4, "hidden": "8", "batch_size": 10, "validation": 0, "progress": "off"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ELBO, "bound", short({10}))
        done = train(rows, **how)
    assert done.history.notes == ["memory ran out at step 3: from there on a batch had 5 rows, half of before."]
    assert done.history.records[-1]["step"] == 3 + 6 + 3 * 12, (
        "three batches of ten; every row of the epoch counts once"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ELBO, "bound", short({10, 5}))
        with pytest.raises(EnvironmentFault, match=r"memory ran out: .* --batch-size"):
            train(rows, **how)


# ---- what a crash leaves


def no_leftovers(place: Place, out: str, err: str) -> None:
    names = sorted(path.name for path in Path("run").iterdir())
    assert names == ["config.toml", "metrics.jsonl", "model.safetensors", "report.html"]


@command("F16", 0, "warning: 2 temporary files of a crash in run were ignored.", check=no_leftovers)
def leftovers_of_a_crash(place: Place) -> list[str]:
    run_ = stopped(place)
    for name in (".0123456789abcdef.tmp", ".fedcba9876543210.tmp"):
        place.write(f"{run_}/{name}", b"half a checkpoint")
    return ["train", "--resume", run_]


@command(
    "F17",
    0,
    "warning: this checkpoint cannot be used: ",
    "damaged",
    "going on from the checkpoint before it, of step 21",
)
def newest_checkpoint_damaged(place: Place) -> list[str]:
    run_ = stopped(place)
    data = Path(run_, FILE).read_bytes()
    place.write(f"{run_}/{FILE}", data[: len(data) // 2])
    return ["train", "--resume", run_]


@command("F17", 0, "no checkpoint is whole: training starts over.")
def both_checkpoints_damaged(place: Place) -> list[str]:
    run_ = stopped(place)
    for name in (FILE, PREVIOUS):
        place.write(f"{run_}/{name}", b"not a file of ours")
    return ["train", "--resume", run_]


@library("F17")
def fallback_ends_with_the_same_bits(place: Place) -> None:
    table = str(place.models.folder / "people.csv")
    run_ = stopped(place)
    assert run(["train", table, *LONG, "--out", "alone"]) == 0
    Path(run_, FILE).write_bytes(b"")
    assert load_checkpoint(Path(run_))[0] is not None
    assert run(["train", "--resume", run_, "-q"]) == 0
    assert Path(run_, "model.safetensors").read_bytes() == Path("alone/model.safetensors").read_bytes()


@library("C41")
def the_error_of_the_library_holds_the_run(place: Place) -> None:
    bound = ELBO.bound
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ELBO, "bound", lambda self, t, step: bound(self, t, step) * (1 if step < 9 else float("nan")))
        with pytest.raises(TrainingError, match="step 10: the objective, row") as error:
            train(torch.randn(40, 3).numpy(), epochs=20, hidden="8", batch_size=12, progress="off")
    assert error.value.run is not None
    assert error.value.history.halvings == 3
