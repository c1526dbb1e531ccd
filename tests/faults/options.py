"""Options that cannot be, outputs that are in the way, and machines that are not like ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl

import vaelab
from faults.catalogue import QUICK, Place, command, library


@command("C47", 5, "no cuda device", "--device cpu")
def a_device_that_is_not_there(place: Place) -> list[str]:
    return ["train", "digits", "--device", "cuda"]


@command("C47", 2, "'gpu'", "auto, cpu, cuda or mps")
def a_device_that_does_not_exist(place: Place) -> list[str]:
    return ["train", "digits", "--device", "gpu"]


@command("C48", 0, "100 latent dimensions for rows of 64")
def more_latents_than_features(place: Place) -> list[str]:
    return ["train", "digits", *QUICK[:4], "--latent-dim", "100", "-o", "run"]


def out_of_range(option: str, value: str, *says: str) -> None:
    def make(place: Place) -> list[str]:
        return ["train", "digits", option, value]

    make.__name__ = f"{option}={value}"
    command("C48", 2, *says)(make)


out_of_range("--latent-dim", "0", "latent_dim", "at least 1", "got 0")
out_of_range("--latent-dim", "-3", "latent_dim", "at least 1", "got -3")
out_of_range("--hidden", "5,0", "widths", "(5, 0)")
out_of_range("--beta", "-1", "beta", "-1")
out_of_range("--free-bits", "-0.1", "free_bits", "-0.1")
out_of_range("--objective", "iwae:samples=0", "samples must be at least 1", "got 0")
out_of_range("--lr", "0", "lr is 0.0", "above 0")
out_of_range("--lr", "-0.1", "lr is -0.1", "above 0")
out_of_range("--lr", "nan", "lr is nan", "above 0")
out_of_range("--epochs", "0", "epochs is 0", "at least 1")
out_of_range("--batch-size", "0", "batch_size is 0", "at least 1")
out_of_range("--patience", "0", "patience is 0", "at least 1")
out_of_range("--minutes", "0", "minutes is 0", "above 0")
out_of_range("--clip", "0", "clip is 0", "above 0")
out_of_range("--threads", "0", "threads", "at least 1")
out_of_range("--decay", "linear", "decay is 'linear'", "cosine, staged or none")
out_of_range("--validation", "1.5", "validation is 1.5", "below 1")


@command("C49", 2, "Did you mean --latent-dim?")
def a_misspelt_option(place: Place) -> list[str]:
    return ["train", "digits", "--latnet-dim", "3"]


@command("C49", 2, 'Did you mean "train"')
def a_misspelt_command(place: Place) -> list[str]:
    return ["trian", "digits"]


@command("C49", 2, "mine.toml", "'latent_dims'", "Did you mean latent_dim?")
def a_misspelt_key(place: Place) -> list[str]:
    place.write("mine.toml", 'source = "digits"\nlatent_dims = 3\n')
    return ["train", "--config", "mine.toml"]


@command("C49", 2, "--columns", '"heigth"', "Did you mean height?")
def a_misspelt_column(place: Place) -> list[str]:
    return ["train", place.table("t.csv", "height,weight", lambda i: f"{i}.5,{i * i}"), "--columns", "heigth"]


@command("C49", 2, "Did you mean gaussian?")
def a_misspelt_part(place: Place) -> list[str]:
    return ["train", "digits", "--likelihood", "gausian"]


@command("C49", 2, "Did you mean scale?")
def a_misspelt_argument_of_a_part(place: Place) -> list[str]:
    return ["train", "digits", "--likelihood", "gaussian:scael=shared"]


@command("C49", 2, "Did you mean beta-vae?")
def a_misspelt_recipe(place: Place) -> list[str]:
    return ["train", "digits", "--recipe", "betavae"]


@command("C49", 3, "Did you mean digits?")
def a_misspelt_source(place: Place) -> list[str]:
    return ["train", "digit"]


@command("C50", 2, "seed is -1", "from 0 to 2^63 - 1")
def a_negative_seed(place: Place) -> list[str]:
    return ["train", "digits", "--seed", "-1"]


@command("C50", 2, "seed is 18446744073709551616", "from 0 to 2^63 - 1")
def a_seed_beyond_64_bits(place: Place) -> list[str]:
    return ["train", "digits", "--seed", "18446744073709551616"]


@command("C50", 2, "--seed", '"one"')
def a_seed_of_text(place: Place) -> list[str]:
    return ["train", "digits", "--seed", "one"]


def only_a_header(place: Place, out: str, err: str) -> None:
    assert (place.folder / "none.csv").read_text() == "height,weight,age\n"


@command("C51", 0, check=only_a_header)
def no_rows(place: Place) -> list[str]:
    return ["generate", str(place.models.table), "-n", "0", "-o", "none.csv"]


@command("C51", 2, "-n must not be negative, got -5")
def fewer_rows_than_none(place: Place) -> list[str]:
    return ["generate", str(place.models.table), "-n", "-5", "-o", "x.csv"]


@library("C51")
def many_rows_take_the_memory_of_one_block(place: Place) -> None:
    script = (
        "import sys; from vaelab.cli import run\n"
        "def peak(n, out):\n"
        "    assert run(['generate', sys.argv[1], '-n', str(n), '-o', out]) == 0\n"
        "    return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1024\n"
        "few = peak(20_000, 'few.csv')\n"
        "many = peak(300_000, 'many.csv')\n"
        "assert many - few < 20, (few, many)\n"
    )
    done = child("-c", script, str(place.models.table))
    assert done.returncode == 0, done.stderr
    with open("many.csv") as lines:
        assert sum(1 for _ in lines) == 300_001


@command("C58", 0, "warning: 7 of 10 rows are equal to training rows")
def rows_that_were_trained_on(place: Place) -> list[str]:
    reopen = vaelab.load(place.models.table).reopen
    assert reopen is not None
    rows = np.concatenate([reopen()["train"].x[:7].numpy(), np.full((3, 3), 1.25)])
    pl.DataFrame(dict(zip(("height", "weight", "age"), rows.T))).write_csv("judge.csv")
    return ["evaluate", str(place.models.table), "judge.csv", "--samples", "5", "-q"]


@command("C60", 0, check=lambda place, out, err: _is_there(place, "größe und 数/run"))
def spaces_and_letters_of_every_kind(place: Place) -> list[str]:
    place.table("größe und 数/mes données.csv", "größe,Σ x", lambda i: f"{i}.5,{i * i}")
    return ["train", "größe und 数/mes données.csv", *QUICK, "-o", "größe und 数/run"]


@command("C60", 0, "2 real columns")
def a_leading_dash(place: Place) -> list[str]:
    place.table("-x.csv", "a,b", lambda i: f"{i}.5,{i * i}")
    return ["train", "--dry-run", "--", "-x.csv"]


@command("C60", 0, check=lambda place, out, err: _is_there(place, f"runs/{'n' * 200}-1"))
def a_very_long_name(place: Place) -> list[str]:
    place.table(f"{'d' * 200}/{'n' * 200}.csv", "a,b", lambda i: f"{i}.5,{i * i}")
    return ["train", f"{'d' * 200}/{'n' * 200}.csv", *QUICK]


@command("C60", 5, "File name too long")
def a_name_longer_than_the_system_takes(place: Place) -> list[str]:
    return ["train", f"{'n' * 300}.csv"]


def _is_there(place: Place, run: str) -> None:
    assert (place.folder / run / "model.safetensors").is_file()


def child(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in another process with exactly this environment beside the search path."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**kept, **environment},
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )


@library("C61")
def a_terminal_that_is_not_utf_8(place: Place) -> None:
    out = child("-m", "vaelab", "evaluate", str(place.models.table), "--samples", "5", PYTHONIOENCODING="ascii")
    assert out.returncode == 0, out.stderr
    assert " +- " in out.stdout
    assert out.stdout.isascii()
    assert out.stderr.isascii()
    assert "\x1b" not in out.stdout + out.stderr, "colours in a pipe"


@library("C61")
def data_are_utf_8_whatever_the_terminal(place: Place) -> None:
    place.table("t.csv", "größe,b,kind", lambda i: f"{i}.5,{i * i},ü{i % 2}")
    done = child("-m", "vaelab", "train", "t.csv", "--labels", "kind", *QUICK, "-o", "run", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    codes = child("-m", "vaelab", "encode", "run", PYTHONIOENCODING="ascii")
    assert "ü1" in codes.stdout


@library("C62")
def a_home_and_a_package_that_cannot_be_written(place: Place) -> None:
    package = Path("site")
    shutil.copytree(Path(vaelab.__file__).parent, package / "vaelab", ignore=shutil.ignore_patterns("__pycache__"))
    for path in package.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    # root may write anywhere: watch what is opened for writing as well
    script = (
        "import os, sys, tempfile\n"
        "allowed = os.getcwd(), '/dev/null', tempfile.gettempdir()\n"
        "def watch(event, args):\n"
        "    if event == 'open' and isinstance(args[0], str) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):\n"
        "        path = os.path.abspath(args[0])\n"
        "        if os.path.abspath('site') in path or not path.startswith(allowed):\n"
        "            os.write(2, ('written: ' + path + chr(10)).encode()); os._exit(99)\n"
        "sys.addaudithook(watch)\n"
        "from vaelab.cli import run\n"
        f"sys.exit(run(['reconstruct', {str(place.models.digits)!r}, '-o', 'x.png']))\n"
    )
    done = child("-B", "-c", script, PYTHONPATH=str(package.absolute()), HOME="/proc/none", XDG_CACHE_HOME="/proc/none")
    for path in package.rglob("*"):
        path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1:] == ["180 rows (validation) -> x.png"]
    assert len(done.stderr.splitlines()) == 1, done.stderr


@library("C63")
def no_network(place: Place) -> None:
    script = (
        "import os, sys\n"
        "def watch(event, args):\n"
        "    if event.startswith('socket.'): os.write(2, event.encode()); os._exit(99)\n"
        "sys.addaudithook(watch)\n"
        "from vaelab.cli import run\n"
        f"sys.exit(run(['train', 'digits', *{QUICK!r}, '-o', 'run']) or run(['evaluate', 'run', '--samples', '5'])\n"
        "         or run(['generate', 'run', '-n', '4', '-o', 'x.png']))\n"
    )
    done = child("-c", script)
    assert done.returncode == 0, done.stderr
