"""The exact checks pass on the source, and catch every planted error."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import planted
from checks import CHECKS

SCRIPT = Path(__file__).with_name("planted.py")


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_check(check: Callable[[], None]) -> None:
    check()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script by itself: it forks, and this process has computed gradients."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=1800,
    )


def test_every_planted_error_fits_its_source() -> None:
    moved = [e["name"] for e in planted.errors() if (planted.SOURCE / e["file"]).read_text().count(e["old"]) != 1]
    assert not moved


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_planted_error_is_caught() -> None:
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" caught  ") == len(planted.errors()) >= 40


def test_an_error_that_no_longer_fits_is_named(tmp_path: Path) -> None:
    (tmp_path / "noise.py").write_text("a = 1\na = 1\n")
    for old in ("a = 1", "b = 1"):
        error = {"name": "moved on", "file": "noise.py", "old": old, "new": ""}
        with pytest.raises(ValueError, match=r"planted error 'moved on' no longer fits noise\.py"):
            planted.plant(error, tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_harmless_change_and_a_broken_plant_are_not_called_caught() -> None:
    lines = [
        "import pathlib, sys; sys.path.insert(0, sys.argv[1]); import planted",
        "same = {'name': 'same', 'file': 'noise.py', 'old': 'self.generator = generator', "
        "'new': 'self.generator = (generator)'}",
        "broken = {**same, 'name': 'broken', 'new': 'self.generator = unknown'}",
        "planted.errors = lambda: [same, broken]",
        "sys.exit(planted.main())",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), str(SCRIPT.parent)],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT caught: same" in done.stdout
    assert "BROKEN: broken" in done.stdout
