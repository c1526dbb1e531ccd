"""`vaelab train` stopped and gone on with: signals, the lock, options, rows, threads, a full disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vaelab import signals
from vaelab.cli import run
from vaelab.keeper import Keeper
from vaelab.lock import Lock
from vaelab.objectives import ELBO
from vaelab.opening import load
from vaelab.training.checkpoint import FILE, has_checkpoint

QUICK = ["--latent-dim", "2", "--hidden", "8", "--epochs", "6", "--batch-size", "9", "-q"]
STEPS = 36  # six epochs of six


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(60, 3))
    np.savetxt("t.csv", rows, delimiter=",", header="a,b,c", comments="")
    return "t.csv"


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Do something when training comes to a step."""
    bound = ELBO.bound

    def arrange(step: int, act: Callable[[], object]) -> None:
        def watched(self, terms, now):
            if now == step and terms.x.requires_grad is False and torch.is_grad_enabled():
                act()
            return bound(self, terms, now)

        monkeypatch.setattr(ELBO, "bound", watched)

    return arrange


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def digest(folder: str) -> str:
    return hashlib.sha256((Path(folder) / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_run_goes_on_with_the_same_bits(
    number: int, code: int, table: str, at_step, capsys
) -> None:
    assert run(["train", table, *QUICK, "--out", "alone"]) == 0
    at_step(20, send(number))
    arguments = [a for a in QUICK if a != "-q"]
    assert run(["train", table, *arguments, "--out", "run"]) == code
    assert "resume   vaelab train --resume run" in capsys.readouterr().err
    assert sorted(p.name for p in Path("run").iterdir()) == [FILE, "config.toml", "metrics.jsonl", "model.safetensors"]
    assert load("run").generate(2).shape == (2, 3), "the best so far can be used"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    at_step(-1, send(number))
    assert run(["train", "--resume", "run", "-q"]) == 0
    assert digest("run") == digest("alone")
    assert sorted(p.name for p in Path("run").iterdir()) == sorted(p.name for p in Path("alone").iterdir())
    capsys.readouterr()
    assert run(["train", "--resume", "run", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["run"] == "run"
    assert "is finished" in said.err


def test_a_second_signal_stops_at_once(table: str, at_step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Keeper.__init__.__kwdefaults__, "every", 0.0)
    monkeypatch.setattr("vaelab.keeper.SHARE", 0)
    assert run(["train", table, *QUICK, "--out", "alone"]) == 0

    def twice() -> None:
        send(signal.SIGINT)()
        send(signal.SIGINT)()

    at_step(20, twice)
    with pytest.raises(SystemExit) as stopped:
        run(["train", table, *QUICK, "--out", "run"])
    assert stopped.value.code == 130
    assert has_checkpoint(Path("run"))
    assert not (Path("run") / ".lock").exists()
    at_step(-1, twice)
    assert run(["train", "--resume", "run", "-q"]) == 0
    assert digest("run") == digest("alone")


def test_a_step_that_takes_too_long_does_not_keep_a_terminated_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []
    monkeypatch.setattr(signals, "PATIENCE", 0.01)
    monkeypatch.setattr(signals.os, "_exit", ended.append)
    with signals.Signals() as asked:
        send(signal.SIGTERM)()
        until = time.monotonic() + 20
        while not ended and time.monotonic() < until:
            time.sleep(0.01)
    assert ended == [143] == [asked.exit_code]


def test_two_runs_in_one_folder_are_refused(table: str, at_step, capsys) -> None:
    at_step(9, send(signal.SIGINT))
    assert run(["train", table, *QUICK, "--out", "run"]) == 130
    at_step(-1, send(signal.SIGINT))
    before = {p.name: p.read_bytes() for p in Path("run").iterdir()}
    holder = (
        "import sys; from pathlib import Path; from vaelab.lock import Lock\n"
        "with Lock(Path('run')): print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"held\n"
    for arguments in (["--resume", "run", "-q"], [table, *QUICK, "--out", "run", "--force"]):
        capsys.readouterr()
        assert run(["train", *arguments]) == 5
        assert f"run is in use by process {other.pid}." in capsys.readouterr().err
    assert before == {p.name: p.read_bytes() for p in Path("run").iterdir() if p.name != ".lock"}
    other.kill()  # no time to tidy up: the lock file stays, and holds nobody
    other.communicate()
    assert (Path("run") / ".lock").exists()
    assert run(["train", "--resume", "run", "-q"]) == 0
    assert not (Path("run") / ".lock").exists()


def test_a_run_that_ends_while_its_report_is_written_can_go_on(
    table: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    assert run(["train", table, *QUICK, "--out", "alone"]) == 0
    monkeypatch.setitem(Keeper.__init__.__kwdefaults__, "every", 0.0)
    monkeypatch.setattr("vaelab.keeper.SHARE", 0)

    def killed(run: object) -> None:
        raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr("vaelab.cli.report.report_beside", killed)
        with pytest.raises(SystemExit):
            run(["train", table, *QUICK, "--out", "run"])
    assert digest("run") == digest("alone")
    assert run(["train", "--resume", "run", "-q"]) == 0
    assert digest("run") == digest("alone")
    assert sorted(p.name for p in Path("run").iterdir()) == sorted(p.name for p in Path("alone").iterdir())


def test_the_lock_is_free_again_after_its_end(tmp_path: Path) -> None:
    for _ in range(2):
        with Lock(tmp_path) as lock:
            assert lock.path.read_text().split()[0] == str(os.getpid())
    assert list(tmp_path.iterdir()) == []


def test_other_options_and_other_rows_are_refused(table: str, at_step, capsys) -> None:
    at_step(9, send(signal.SIGINT))
    assert run(["train", table, *QUICK, "--lr", "0.01", "--out", "run"]) == 130
    at_step(-1, send(signal.SIGINT))
    for arguments, words in [
        (["--lr", "0.003", "--seed", "4"], "--lr 0.003 (the run: 0.01), --seed 4 (the run: 0)"),
        ([table], "takes no SOURCE"),
        (["--out", "other"], "takes no SOURCE, --out"),
    ]:
        capsys.readouterr()
        assert run(["train", "--resume", "run", *arguments]) == 2
        assert words in capsys.readouterr().err
    rows = Path(table).read_text()
    Path(table).write_text(rows.replace("1", "2"))
    assert run(["train", "--resume", "run", "-q"]) == 3
    assert "has changed since run began" in capsys.readouterr().err
    Path(table).write_text(rows)
    assert run(["train", "--resume=run", "--lr", "0.01", "--epochs", "8", "-q"]) == 0
    assert load("run").meta["settings"]["epochs"] == 8
    assert load("run").history.records[-1]["epoch"] == 8
    assert "epochs = 8" in (Path("run") / "config.toml").read_text()


def test_without_a_checkpoint_a_run_starts_over_and_what_is_no_run_is_refused(table: str, capsys) -> None:
    assert run(["train", table, *QUICK, "--out", "run"]) == 0
    (Path("run") / "model.safetensors").rename("alone.safetensors")
    assert run(["train", "--resume", "run", "-q"]) == 0
    assert (Path("run") / "model.safetensors").read_bytes() == Path("alone.safetensors").read_bytes()
    for name in (".", "nowhere", table):
        assert run(["train", "--resume", name]) == 2
        assert "holds no run to resume" in capsys.readouterr().err


def test_the_recorded_number_of_threads_is_used(table: str, at_step) -> None:
    before, seen = torch.get_num_threads(), []
    try:
        torch.set_num_threads(1)
        at_step(9, send(signal.SIGINT))
        assert run(["train", table, *QUICK, "--out", "run"]) == 130
        torch.set_num_threads(2)
        at_step(20, lambda: seen.append(torch.get_num_threads()))
        assert run(["train", "--resume", "run", "-q"]) == 0
        assert seen == [1]
        assert torch.get_num_threads() == 2
        assert load("run").meta["threads"] == 1
    finally:
        torch.set_num_threads(before)


def test_another_version_of_torch_is_said(table: str, at_step, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    at_step(9, send(signal.SIGINT))
    assert run(["train", table, *QUICK, "--out", "run"]) == 130
    at_step(-1, send(signal.SIGINT))
    monkeypatch.setattr(Keeper, "_machine", lambda keeper: {"torch": "9.9"})
    assert run(["train", "--resume", "run", "-q"]) == 0
    assert "now 9.9: the result will not be bit for bit the same." in capsys.readouterr().err


@pytest.mark.parametrize("first", [True, False])
def test_a_full_disk_ends_the_run_with_the_last_checkpoint_kept(
    first: bool, table: str, at_step, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setitem(Keeper.__init__.__kwdefaults__, "every", 1e9 if first else 0.0)
    monkeypatch.setattr("vaelab.keeper.SHARE", 0)
    assert run(["train", table, *QUICK, "--out", "alone"]) == 0
    real = os.replace

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill() -> None:
        monkeypatch.setattr(os, "replace", full)
        send(signal.SIGTERM)()

    at_step(20, fill)
    assert run(["train", table, *QUICK, "--out", "run"]) == 5
    said = capsys.readouterr().err
    if first:
        assert "No space left on device" in said
        assert not Path("run").exists(), "nothing half-written"
        return
    assert "disk full while saving step 21 in run (need 0." in said
    assert "Last checkpoint: step 20. Make room and run: vaelab train --resume run" in said
    assert not list(Path("run").glob("*.tmp"))
    monkeypatch.setattr(os, "replace", real)
    at_step(-1, fill)
    assert run(["train", "--resume", "run", "-q"]) == 0
    assert digest("run") == digest("alone")


def test_kill_at_random_moments_loses_nothing() -> None:
    """Ten of the two hundred that `python tests/kill.py` does."""
    script = Path(__file__).parents[1] / "kill.py"
    done = subprocess.run(
        [sys.executable, str(script), "--times", "10"],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": 0 lost, 0 with other bits" in done.stdout
