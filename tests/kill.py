"""Kill training at random moments and go on: python tests/kill.py --times 200

Each run is killed (SIGKILL) a few times, then ends; its model file must have the bytes of a run that was left alone.
Half of the kills come at a random moment, half inside a save, after a random one of its file operations. One process
imports torch, and forks the runs: this needs one thread, OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars  # noqa: F401
import torch

from vaelab import keeper
from vaelab.cli import run, train  # noqa: F401  what a child needs is imported here, once
from vaelab.planning import plan_run  # noqa: F401
from vaelab.training.checkpoint import has_checkpoint

KILLS_PER_RUN = 4
OPTIONS = (
    *("--hidden", "16", "--latent-dim", "2", "--epochs", "25", "--patience", "100", "--warmup", "10"),
    *("--batch-size", "7", "--threads", "1", "-q", "--no-report"),
)
KEEP = ("open", "fsync", "replace", "unlink", "close")
REAL = {name: vars(os)[name] for name in KEEP}


def child(arguments: list[str], die_after: int | None = None) -> int:
    """Fork a process that runs the command; it kills itself after that many file operations of its saves."""
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        if die_after is not None:
            left = [die_after]
            for name in KEEP:

                def counted(*given, real=REAL[name], **how):
                    result = real(*given, **how)
                    left[0] -= saving[0]
                    if left[0] < 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return result

                setattr(os, name, counted)
            saving, save = [0], keeper.save_checkpoint

            def aimed(folder, tree):
                saving[0] = 1
                try:
                    return save(folder, tree)
                finally:
                    saving[0] = 0

            keeper.save_checkpoint = aimed
        code = run(arguments)
    finally:
        os._exit(code)


def finish(process: int) -> int:
    """Wait for a process; return its exit code, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports what optimisers need
    keeper.Keeper.__init__.__kwdefaults__["every"] = 0.02
    keeper.SHARE = 0
    dice = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as place:
        table = Path(place) / "t.csv"
        np.savetxt(
            table, np.random.default_rng(0).normal(size=(150, 5)), delimiter=",", header="a,b,c,d,e", comments=""
        )

        def digest(folder: Path) -> str:
            return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()

        alone = Path(place) / "alone"
        begun = time.perf_counter()
        assert finish(child(["train", str(table), *OPTIONS, "--out", str(alone)])) == 0, "the plain run failed"
        length = time.perf_counter() - begun
        kills = saves = mid_save = differ = lost = number = 0
        while kills < asked.times and not lost:
            number += 1
            folder, inside = Path(place) / f"run-{number}", 0
            while inside < KILLS_PER_RUN and kills < asked.times:
                fresh = not (folder / "config.toml").exists()
                how = (
                    [str(table), *OPTIONS, "--out", str(folder)]
                    if fresh
                    else ["--resume", str(folder), "-q", "--no-report"]
                )
                if fresh and folder.exists():
                    (folder / ".lock").unlink(missing_ok=True)
                    folder.rmdir()  # killed before anything was written: nothing to lose
                aimed = dice.random() < 0.5
                process = child(["train", *how], dice.randrange(40) if aimed else None)
                if not aimed:
                    time.sleep(dice.uniform(0, length))
                    os.kill(process, signal.SIGKILL)
                code = finish(process)
                if code == 0:
                    break
                if code != -signal.SIGKILL:
                    print(f"run {number}: exit {code}", file=sys.stderr)
                    lost += 1
                    break
                kills, inside = kills + 1, inside + 1
                mid_save += aimed
                saves += has_checkpoint(folder)
            if (folder / "config.toml").exists():
                code = finish(child(["train", "--resume", str(folder), "-q", "--no-report"]))
                lost += code != 0
                differ += code == 0 and digest(folder) != digest(alone)
                rest = sorted(p.name for p in folder.iterdir())
                lost += rest != sorted(p.name for p in alone.iterdir())
    print(
        f"{kills} kills ({mid_save} inside a save, {saves} with a checkpoint to go on from) in {number} runs: "
        f"{lost} lost, {differ} with other bits"
    )
    return int(lost > 0 or differ > 0)


if __name__ == "__main__":
    sys.exit(main())
