"""The compiled step, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vaelab.recipes
from vaelab.training import Settings
from vaelab.training.adam import Adam
from vaelab.training.step import pays as worth_compiling


def test_a_compiled_step_keeps_every_promise_of_the_eager_one() -> None:
    pytest.importorskip("torch._inductor.cpp_builder").get_cpp_compiler()
    script = Path(__file__).with_name("compiled.py")
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:vaelab", str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert not done.returncode, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("rows", "kinds", "pays"),
    [
        (20_000, ["gaussian"] * 20, False),  # 20,000 steps of a model of few parts
        (20_000, [f"categorical={levels}" for levels in range(2, 22)], True),  # of many parts
        (600, [f"categorical={levels}" for levels in range(2, 22)], False),  # which a small table rarely trains for
    ],
)
def test_auto_compiles_long_runs_of_many_parts(rows: int, kinds: list[str], pays: bool) -> None:
    model, _ = vaelab.recipes.find("vae")((20,), 2, likelihood=f"columns:kinds={'+'.join(kinds)}")
    assert worth_compiling(Settings(compile="auto"), model, rows, torch.device("cpu")) is pays


def test_the_optimiser_is_torch_s_to_the_bit() -> None:
    """Mixed with parameters that have no gradient at some steps."""
    ours, theirs = ([torch.nn.Parameter(torch.full((shape,), 0.5)) for shape in (3, 7, 1)] for _ in range(2))
    optimisers = Adam(ours, lr=0.1, fused=True), torch.optim.Adam(theirs, lr=0.1, fused=True)
    for step in range(9):
        for i, pair in enumerate(zip(ours, theirs)):
            slope = None if (step + i) % 3 == 0 else torch.randn(pair[0].shape)
            for parameter in pair:
                parameter.grad = slope
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = 0.1 / (step + 1)
            optimiser.step()
    for a, b in zip(ours, theirs):
        assert torch.equal(a, b)
        assert all(
            torch.equal(optimisers[0].state[a][name], optimisers[1].state[b][name]) for name in ("step", "exp_avg")
        )
