"""Several processes take the steps of one: the same weights, the same figures, whoever holds how many rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ranks
from contracts.test_every_objective import OBJECTIVES, B, X, build, losses, model
from oracles import F64, noise
from vaelab.errors import UsageError
from vaelab.noise import Noise, Portion
from vaelab.training import Ranks

HERE = Path(__file__).parent
QUICK = ("--latent-dim", "2", "--hidden", "8", "--epochs", "6", "--batch-size", "9", "--threads", "1", "--no-report")
RESUMED = ("plain", "early-stopping", "binarised-afresh")


def torchrun(processes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tests/ranks.py by so many processes, on a port of their own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.run(
        [*command, str(HERE / "ranks.py"), *arguments],
        capture_output=True, text=True, timeout=600, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


# ---- one process that plays all


@pytest.mark.parametrize(("rows", "world"), [(17, 2), (7, 3), (2, 3), (1, 2), (100, 7)])
def test_every_row_of_a_batch_is_in_one_share(rows: int, world: int) -> None:
    shares = [Ranks(rank, world).share(rows) for rank in range(world)]
    held = [row for share in shares if not share.empty for row in share.of(torch.arange(rows)).tolist()]
    assert held == list(range(rows))
    sizes = [0 if share.empty else share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1
    values = torch.randn(rows, dtype=F64)
    assert sum(s.sum(s.of(values)) for s in shares).item() == pytest.approx(values.sum().item(), abs=1e-12)
    assert sum(s.mean(s.of(values)) for s in shares).item() == pytest.approx(values.mean().item(), abs=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradients_of_shares_add_up_to_that_of_the_batch(name: str) -> None:
    """Three processes, of which one may have no rows, against one; but for objectives that couple rows."""
    objective, vae, x = build(name), model(), torch.randn(B, X, dtype=F64)
    if objective.couples_rows:
        return  # refused: see below

    def gradients(part: slice, world: int, rank: int, source: Noise) -> dict[str, list[torch.Tensor]]:
        share = Ranks(rank, world).share(len(x[part]))
        here = losses(objective, vae, share.of(x[part]), share.noise(source))
        return {
            owner: torch.autograd.grad(
                share.mean(here[owner]), parameters, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for owner, parameters in objective.owners(vae).items()
        }

    for part in (slice(None), slice(2)):
        whole = gradients(part, 1, 0, noise(5))
        sources = [noise(5) for _ in range(3)]
        shares = [gradients(part, 3, rank, source) for rank, source in enumerate(sources)]
        for owner, expected in whole.items():
            for number, value in enumerate(expected):
                got = sum(share[owner][number] for share in shares)
                assert torch.allclose(got, value, rtol=1e-11, atol=1e-12), owner
        states = [source.generator.get_state() for source in sources]
        assert all(torch.equal(states[0], other) for other in states), "the noise of the next step would differ"


def test_noise_that_belongs_to_no_row_is_refused() -> None:
    with pytest.raises(UsageError, match="Train with one process"):
        Portion(noise(1), 2, 4, 9).normal((1, 50, 3), torch.zeros(1))


# ---- processes


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What two processes made of all cases, some of them with stops on the way, and three of what is left."""
    asked = {
        "two": (2, ",".join(name for name in ranks.CASES if name != "batches-of-two"), ",".join(RESUMED)),
        "three": (3, "batches-of-two", ""),
    }
    folders = {}
    for name, (processes, *cases) in asked.items():
        folders[name] = tmp_path_factory.mktemp(name)
        done = torchrun(processes, "cases", str(folders[name]), *cases)
        assert done.returncode == 0, done.stderr[-3000:]
    return folders


def read(folder: Path, case: str):
    return load_file(folder / f"{case}.safetensors"), json.loads((folder / f"{case}.json").read_text())


@pytest.mark.parametrize("case", ranks.CASES)
def test_several_processes_take_the_steps_of_one(case: str, together: dict[str, Path]) -> None:
    """Two (of batches of two rows three) against one: 200 steps and more over 211 rows, to 1e-9."""
    got, history = read(together["three" if case == "batches-of-two" else "two"], case)
    expected, straight = ranks.trained(case)
    assert history["records"][-1]["step"] >= (200 if case != "early-stopping" else 50)
    for name, value in expected.items():
        assert (got[name] - value).abs().max() < 1e-9, name
    for mine, theirs in zip(history["records"], straight["records"], strict=True):
        assert mine == pytest.approx(theirs, abs=1e-9)
    for name in ("skipped", "first_bad", "bad_steps", "halvings", "notes", "stopped"):
        assert history[name] == straight[name], name
    if case == "a-spoilt-row":
        assert {tuple(bad["rows"]) for bad in history["bad_steps"]} == {(12,)}


@pytest.mark.parametrize("case", RESUMED)
def test_two_processes_that_go_on_have_the_bits_of_two_that_were_not_stopped(
    case: str, together: dict[str, Path]
) -> None:
    (got, history), (expected, straight) = (read(together["two"], name) for name in (f"resumed-{case}", case))
    assert all(torch.equal(got[name], value) for name, value in expected.items())
    assert history == straight


def test_what_couples_the_rows_of_a_batch_is_refused(together: dict[str, Path]) -> None:
    said = json.loads((together["two"] / "refused.json").read_text())
    assert [line.partition(" ")[0] for line in said] == ["TotalCorrelation", "Gaussian"]
    assert all("train with one process" in line for line in said)


def test_a_lost_process_ends_the_others_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SIGTERM to one of two, a kill -9 of the other, and the end: the bytes of two that were left alone."""
    monkeypatch.chdir(tmp_path)
    table = np.random.default_rng(0).normal(size=(60, 3))
    np.savetxt("t.csv", table, delimiter=",", header="a,b,c", comments="")
    alone = torchrun(2, "command", "0:-1:0", "train", "t.csv", *QUICK, "--out", "alone")
    assert alone.returncode == 0, alone.stderr
    assert alone.stdout.splitlines() == ["alone"], "one process speaks"

    stopped = torchrun(2, "command", f"1:12:{signal.SIGTERM:d}", "train", "t.csv", *QUICK, "--out", "run")
    assert stopped.returncode != 0
    assert "resume   vaelab train --resume run" in stopped.stderr
    lost = torchrun(2, "command", f"1:20:{signal.SIGKILL:d}", "train", "--resume", "run")
    assert lost.returncode != 0
    errors = [line for line in lost.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "a process of this training is gone" in errors[0]
    assert "Traceback" not in lost.stderr.partition("elastic")[0]
    assert not (Path("run") / ".lock").exists()
    done = torchrun(2, "command", "0:-1:0", "train", "--resume", "run", "--no-report")
    assert done.returncode == 0, done.stderr
    assert (Path("run") / "model.safetensors").read_bytes() == (Path("alone") / "model.safetensors").read_bytes()
    assert sorted(p.name for p in Path("run").iterdir()) == sorted(p.name for p in Path("alone").iterdir())
