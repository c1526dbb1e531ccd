"""5,000 damaged model files: nothing is run, nothing hangs, and each is refused in one way or is a whole model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals and limits")
def test_mutants() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / "tests" / "mutants.py"), "--n", "5000", "--seed", "0"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"},
    )
    report = json.loads(done.stdout or "{}")
    assert done.returncode == 0, done.stdout + done.stderr
    counts = report["counts"]
    assert sum(counts.values()) == report["n"] == 5000
    # with the digest as it was nothing loads, whatever was changed
    assert {key for key in counts if "digest right" not in key} == {"bytes: refused", "json: refused"}
    assert counts["bytes: refused"] > 1000
    # with the digest made right the mutations reach every layer: the container, the tree, and whole other models
    for level in ("bytes", "json"):
        assert counts[f"{level}, digest right: refused"] > 500
        assert counts[f"{level}, digest right: refused inside"] > 50
        assert counts[f"{level}, digest right: loaded and used"] > 50
