"""The command line as a user meets it: streams, exit codes, files."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from torch import Tensor

from vaelab import ELBO, Terms
from vaelab.cli import COMMANDS, run
from vaelab.opening import load

ESCAPE = "\x1b"
QUICK = ["--latent-dim", "3", "--hidden", "32", "--epochs", "3", "--no-report"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trained run."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    assert run(["train", "digits", *QUICK, "--out", str(out), "-q"]) == 0
    return out


def child(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vaelab", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_answers_without_torch(command: str) -> None:
    code = (
        "import sys; from vaelab.cli import run; "
        f"run([a for a in [{command!r}, '-h'] if a]); "
        "heavy = {'torch', 'numpy', 'sklearn', 'polars', 'PIL', 'matplotlib'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Usage: vaelab" in done.stdout


def test_a_run_folder_and_one_line_on_stdout(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(p.name for p in digits.iterdir()) == ["config.toml", "metrics.jsonl", "model.safetensors"]
    records = [json.loads(line) for line in (digits / "metrics.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in records] == [1, 2, 3]
    assert run(["train", "digits", *QUICK, "--out", str(tmp_path / "again")]) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'again'}\n"
    assert len(re.findall(r"^epoch \d", said.err, re.MULTILINE)) == 3
    same = (tmp_path / "again" / "model.safetensors").read_bytes() == (digits / "model.safetensors").read_bytes()
    assert same, "same options, data and thread count must give the same bytes"


def test_config_repeats_the_run_and_options_win_over_it(digits: Path, tmp_path: Path) -> None:
    config = str(digits / "config.toml")
    assert run(["train", "--config", config, "--no-report", "--out", str(tmp_path / "a"), "-q"]) == 0
    assert (tmp_path / "a/model.safetensors").read_bytes() == (digits / "model.safetensors").read_bytes()
    assert run(["train", "--config", config, "--seed", "1", "--no-report", "--out", str(tmp_path / "b"), "-q"]) == 0
    assert (tmp_path / "b/model.safetensors").read_bytes() != (digits / "model.safetensors").read_bytes()
    bad = tmp_path / "bad.toml"
    bad.write_text('source = "digits"\nlatent_dmi = 3\n')
    assert run(["train", "--config", str(bad)]) == 2


def test_json_of_every_verb_parses(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    for arguments in (
        ["train", "digits", *QUICK, "--out", str(tmp_path / "r"), "--json"],
        ["train", "digits", *QUICK, "--dry-run", "--json"],
        ["evaluate", str(digits), "--samples", "10", "--json"],
        ["info", str(digits), "--json"],
        ["recipes", "--json"],
    ):
        assert run(arguments) == 0, arguments
        json.loads(capsys.readouterr().out)
    assert run(["evaluate", "nowhere", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["exit"] == 4


def test_evaluate_has_the_figures_it_promises(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["evaluate", str(digits), "--samples", "50", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    promised = "rows split units elbo reconstruction kl log_evidence bits_per_dimension kl_per_dimension active_units"
    assert set(promised.split()) | {"mutual_information"} <= set(figures)
    assert (figures["rows"], figures["split"], figures["units"]) == (180, "validation", "user")
    assert figures["elbo"]["value"] == pytest.approx(
        figures["reconstruction"]["value"] - figures["kl"]["value"], rel=1e-12
    )
    assert sum(figures["kl_per_dimension"]) == pytest.approx(figures["kl"]["value"], rel=1e-9)
    assert figures["log_evidence"]["value"] > figures["elbo"]["value"]
    assert figures["log_evidence"] | {"kind": "iwae", "samples": 50} == figures["log_evidence"]
    assert figures["bits_per_dimension"] == pytest.approx(-figures["elbo"]["value"] / (64 * np.log(2)))


@pytest.mark.parametrize("likelihood", ["categorical", "discretized-logistic"])
def test_a_grid_can_be_read_as_categories_or_as_numbers(likelihood: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--latent-dim", "3", "--epochs", "20", "--likelihood", likelihood]
    assert run(["train", "digits", *options, "--out", str(out), "-q"]) == 0
    assert (out / "report.html").exists()
    judged = load(out).evaluate(samples=20)
    assert judged.elbo is not None
    assert judged.elbo.value > -0.7 * 64 * np.log(17), "no better than guessing one of 17 levels"
    assert set(load(out).generate(50).unique().tolist()) <= set(range(17))


def test_an_autoencoder_has_no_bound_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "ae")
    assert run(["train", "digits", "--recipe", "autoencoder", *QUICK, "--out", out, "-q"]) == 0
    capsys.readouterr()
    assert run(["evaluate", out, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["elbo"] is None
    assert figures["log_evidence"] is None
    assert "point mass" in figures["reason"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["trian", "digits"], 2, 'Did you mean "train"'),
        (["train", "digits", "--latent-dmi", "3"], 2, "Did you mean --latent-dim?"),
        (["train", "digit"], 3, "Did you mean digits?"),
        (["train", "digits", "--recipe", "veа"], 2, "recipe"),
        (["train", "digits", "--recipe", "betavae"], 2, "Did you mean beta-vae?"),
        (["train", "digits", "--likelihood", "gausian"], 2, "Did you mean gaussian?"),
        (["train", "digits", "--likelihood", "gaussian:scael=shared"], 2, "Did you mean scale?"),
        (
            ["train", "digits", "--likelihood", "bernoulli"],
            2,
            "is for binary values, but digits has integer ones, 0..16",
        ),
        (["train", "digits", "--likelihood", "discretized-logistic:bins=256"], 2, "digits has 17 levels"),
        (["train", "digits", "--binarize", "threshold", "--likelihood", "gaussian"], 2, "has binary ones"),
        (["train", "digits", "--objective", "iwae", "--beta", "2"], 2, "--beta belongs to the objective elbo"),
        (["train", "digits", "--epochs", "0"], 2, "epochs"),
        (["train", "digits", "--epochs", "x"], 2, "--epochs"),
        (["train", "digits", "--epochs", "2", "--minutes", "1"], 2, "not both"),
        (["train", "digits", "--device", "cuda"], 5, "no cuda device"),
        (["train", "digits", "--latent-dim", "0"], 2, "latent_dim"),
        (["train", "digits", "--beta", "-1"], 2, "beta"),
        (["train", "digits", "--seed", "-1"], 2, "seed"),
        (["train", "digits", "--activation", "rely"], 2, "Did you mean relu?"),
        (["train", "digits", "--out", "/proc/nope"], 5, "/proc"),
        (["train", "mnist", "--binarize", "fixd"], 2, "fixed"),
        (["generate", "nowhere", "-n", "3", "-o", "x.npy"], 4, "nowhere"),
    ],
)
def test_faults(arguments: list[str], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("error: ")
    assert words in said.err
    assert list(tmp_path.iterdir()) == [], "a refused command must leave nothing behind"


def test_outputs_are_not_replaced_without_force(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.npz"
    assert run(["generate", str(digits), "-n", "4", "-o", str(out)]) == 0
    before = out.read_bytes()
    assert run(["generate", str(digits), "-n", "5", "-o", str(out)]) == 2
    assert "Use --force" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert run(["generate", str(digits), "-n", "5", "-o", str(out), "--force"]) == 0
    assert np.load(out)["x"].shape == (5, 8, 8)
    assert run(["train", "digits", *QUICK, "--out", str(digits)]) == 2


def test_generate_draws_from_the_likelihood_and_means_do_not(digits: Path) -> None:
    opened = load(digits)
    draws, means = opened.generate(2000, seed=1), opened.generate(2000, seed=1, means=True)
    assert set(draws.unique().tolist()) <= set(range(17))
    # the same z behind both: draws scatter about the means without bias
    error = (draws - means).mean(0)
    spread = (draws - means).std(0) / 2000**0.5
    assert (error.abs() <= 5 * spread + 1e-9).all()
    assert (draws - means).std() > 1


def test_forms_of_output(digits: Path, tmp_path: Path) -> None:
    for name in ("g.png", "g.npy", "g.csv", "g.parquet", "folder"):
        assert run(["generate", str(digits), "-n", "6", "-o", str(tmp_path / name)]) == 0
    assert pl.read_csv(tmp_path / "g.csv").shape == (6, 64)
    assert len(list((tmp_path / "folder").iterdir())) == 6
    assert run(["reconstruct", str(digits), "-o", str(tmp_path / "r.png")]) == 0
    assert run(["reconstruct", str(digits), "digits", "-o", str(tmp_path / "r.npy")]) == 0
    assert np.load(tmp_path / "r.npy").shape == (1797, 8, 8)


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb", "FORCE_COLOR": "1"}])
def test_a_pipe_gets_no_escapes(environment: dict[str, str]) -> None:
    done = child("train", "digits", "--dry-run", *QUICK, **environment)
    assert done.returncode == 0, done.stderr
    assert ESCAPE not in done.stdout + done.stderr
    assert "discretized-logistic:bins=17, because values are integers from 0 to 16" in done.stderr


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """Run the command with stderr on a pseudo-terminal and return what arrives there."""
    main, other = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "vaelab", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=other,
        env={**os.environ, **environment},
    )
    os.close(other)
    seen = b""
    while True:
        try:
            more = os.read(main, 4096)
        except OSError:
            break
        if not more:
            break
        seen += more
    done.wait(60)
    os.close(main)
    assert done.returncode == 0, seen
    return seen.decode()


def test_a_terminal_gets_a_bar_and_a_dumb_one_does_not(tmp_path: Path) -> None:
    def seen(name: str, **environment: str) -> str:
        return on_a_terminal("train", "digits", *QUICK, "--out", str(tmp_path / name), **environment)

    assert ESCAPE in seen("a", TERM="xterm-256color")
    assert ESCAPE not in seen("b", TERM="dumb")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", seen("c", TERM="xterm-256color", NO_COLOR="1")), "no colours"


def test_ctrl_c_keeps_the_best_so_far(tmp_path: Path) -> None:
    out = tmp_path / "run"
    started = subprocess.Popen(
        [sys.executable, "-m", "vaelab", "train", "digits", "--epochs", "3000", "--no-report", "--out", str(out)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stderr is not None
    for line in started.stderr:
        if line.startswith("epoch"):
            break
    time.sleep(0.3)
    started.send_signal(signal.SIGINT)
    said = started.communicate(timeout=60)
    assert started.returncode == 130, said
    assert "Traceback" not in said[1]
    assert "interrupted" in said[1]
    assert load(out).generate(2).shape == (2, 8, 8)


@pytest.mark.parametrize("epochs_before", [0, 2])
def test_a_loss_that_is_not_finite_ends_with_the_best_so_far(
    epochs_before: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = ELBO.bound

    def breaks(self: ELBO, terms: Terms, step: int) -> Tensor:
        return bound(self, terms, step) * (1.0 if step < 17 * epochs_before else float("nan"))

    monkeypatch.setattr(ELBO, "bound", breaks)
    out = tmp_path / "run"
    options = ["--latent-dim", "3", "--hidden", "32", "--epochs", "9"]
    assert run(["train", "digits", *options, "--out", str(out), "-q"]) == 6
    said = capsys.readouterr().err
    assert said.startswith("error: the loss is not finite, first at step ")
    assert "the objective" in said
    assert (f"are in {out}" in said) == out.exists() == (epochs_before > 0)
    if out.exists():
        assert load(out).meta["best"]["epoch"] == epochs_before


def test_validation_rows_can_be_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 3))
    pl.DataFrame(rows[:40], schema=["a", "b", "c"]).write_csv(tmp_path / "t.csv")
    pl.DataFrame(rows[40:, ::-1].copy(), schema=["c", "b", "a"]).write_csv(tmp_path / "v.csv")
    arguments = [str(tmp_path / "t.csv"), "--validation", str(tmp_path / "v.csv"), *QUICK]
    assert run(["train", *arguments, "--out", str(tmp_path / "run"), "-q"]) == 0
    capsys.readouterr()
    assert run(["evaluate", str(tmp_path / "run"), "--samples", "5", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["rows"], figures["split"]) == (20, "validation")
    assert run(["train", str(tmp_path / "t.csv"), "--validation", str(tmp_path / "w.csv"), *QUICK]) == 3


def test_changed_data_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    rows = np.random.default_rng(0).normal(size=(60, 3))
    np.savetxt(table, rows, delimiter=",", header="a,b,c", comments="")
    out = str(tmp_path / "run")
    assert run(["train", str(table), *QUICK, "--out", out, "-q"]) == 0
    assert run(["evaluate", out, "--samples", "5", "-q"]) == 0
    np.savetxt(table, rows + 1, delimiter=",", header="a,b,c", comments="")
    assert run(["evaluate", out, "--samples", "5", "-q"]) == 3
    assert "has changed since" in capsys.readouterr().err
    assert run(["evaluate", out, str(table), "--samples", "5", "-q"]) == 0


def test_wine_reaches_the_exact_optimum(real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "wine")
    source = str(real_data / "tables/wine_red.csv.gz")
    options = ["--columns", "1-11", "--recipe", "linear", "--latent-dim", "2", "--validation", "0", "--no-report"]
    assert run(["train", source, *options, "--out", out, "-q"]) == 0
    capsys.readouterr()
    assert run(["evaluate", out, "--units", "standardised", "--samples", "200", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["elbo"]["value"] == pytest.approx(-14.658170, abs=1e-3)
    assert figures["log_evidence"]["value"] == pytest.approx(-14.658170, abs=1e-3)
    assert figures["kl"]["value"] == pytest.approx(1.302908, abs=0.02)
