"""Train by several processes, which torchrun starts.

    torchrun --nproc-per-node 2 tests/ranks.py cases FOLDER plain,iwae plain   some of CASES; the last of them again,
                                                                                stopped a few times on the way
    torchrun --nproc-per-node 2 tests/ranks.py command DIE:AT:SIGNAL train SOURCE ...

The first process writes what came out to FOLDER; test_distributed.py holds it against one process. `command` is
`vaelab`, which keeps its state at every step; process DIE sends itself the signal at step AT.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from oracles import rows
from test_resume import StopsAt, of_pixels, pixels
from test_training import fresh, made, state
from test_training_faults import Two
from vaelab import cli, keeper
from vaelab.errors import UsageError
from vaelab.objectives import ELBO, IWAE, TotalCorrelation
from vaelab.training import ALONE, Ranks, Settings, optimise

ROWS = 211  # a prime
LENGTH = {"epochs": 16, "batch_size": 17, "lr_warmup": 20}  # 16 epochs of 13 steps, the last of 7 rows
STOPS = (5, 13, 60)


class Kept(StopsAt):
    """Keeps the state at one step, by the first process, and ends the run there."""

    def __init__(self, folder: Path, step: int | None, ranks: Ranks) -> None:
        super().__init__(folder, step)
        self.ranks = ranks

    def restore(self):
        return super().restore() if self.ranks.first else None

    def after_step(self, capture) -> None:
        if self.ranks.first:
            super().after_step(capture)
        elif capture()["state"]["step"] == self.step:
            raise KeyboardInterrupt


def plain(objective=ELBO, **how):
    return lambda: (fresh(), made(ROWS), made(29, 2), objective(), Settings(**{**LENGTH, **how}))


def a_spoilt_row():
    bad = rows(made(ROWS).data.numpy().copy())
    bad.data[11, 3] = float("nan")
    return fresh(), bad, made(29, 2), ELBO(), Settings(**LENGTH)


def binarised():
    return of_pixels(), pixels(ROWS, 1), pixels(29, 2), ELBO(), Settings(**LENGTH)


def masked():
    seen = torch.rand(ROWS, 7, generator=torch.Generator().manual_seed(4)) < 0.7
    return fresh(), made(ROWS, observed=seen.numpy()), made(29, 2), ELBO(), Settings(**LENGTH)


CASES = {
    "plain": plain(),
    "iwae": plain(lambda: IWAE(5)),
    "two-owners": plain(Two),
    "early-stopping": plain(lambda: ELBO(beta=0.0), epochs=300, patience=3, lr=0.05),
    "clip": plain(clip=0.5),
    "batches-of-two": plain(batch_size=2, epochs=2),  # one of three processes has no rows
    "a-spoilt-row": a_spoilt_row,
    "binarised-afresh": binarised,
    "masked": masked,
}


def trained(case: str, ranks: Ranks = ALONE, kept: Kept | None = None):
    """Train one case; return its weights and what happened, without times."""
    model, train, valid, objective, settings = CASES[case]()
    history = optimise(model, objective, train, valid, settings, keeper=kept, ranks=ranks)
    tensors = state(model) | {f"objective {k}": v for k, v in state(objective).items()}
    records = [{k: v for k, v in record.items() if k != "seconds"} for record in history.records]
    names = ("skipped", "first_bad", "bad_steps", "halvings", "notes", "stopped")
    return tensors, {"records": records} | {name: getattr(history, name) for name in names}


def refused(ranks: Ranks) -> list[str]:
    """What objectives and parts that couple rows are told."""
    said = []
    for model, objective in ((fresh(), TotalCorrelation()), (fresh(0, scale="optimal"), ELBO())):
        try:
            optimise(model, objective, made(), None, Settings(epochs=1), ranks=ranks)
        except UsageError as error:
            said.append(str(error))
    return said


def run_cases(out: Path, names: list[str], resumed: list[str]) -> None:
    torch.set_num_threads(1)
    with Ranks.here() as ranks:
        for name in [*names, *(f"resumed-{name}" for name in resumed)]:
            case, kept = name.removeprefix("resumed-"), out / f"{name}-kept"
            kept.mkdir(exist_ok=True)
            for step in (None,) if case == name else (*STOPS, None):
                tensors, history = trained(case, ranks, None if case == name else Kept(kept, step, ranks))
            sums = ranks.gathered([float(value.sum()) for value in tensors.values()])
            assert all(one == sums[0] for one in sums), "the processes hold other weights"
            if ranks.first:
                save_file(tensors, out / f"{name}.safetensors")
                (out / f"{name}.json").write_text(json.dumps(history))
        said = refused(ranks)
        if ranks.first:
            (out / "refused.json").write_text(json.dumps(said))


def run_command(disturb: str, arguments: list[str]) -> None:
    keeper.Keeper.__init__.__kwdefaults__["every"] = 0.0
    keeper.SHARE = 0
    victim, at, number = (int(word) for word in disturb.split(":"))
    bound = ELBO.bound

    def disturbed(self, terms, step):
        if step == at and victim == int(os.environ["RANK"]) and torch.is_grad_enabled():
            os.kill(os.getpid(), number)
        return bound(self, terms, step)

    ELBO.bound = disturbed
    sys.exit(cli.run(arguments))


if __name__ == "__main__":
    what, first, *rest = sys.argv[1:]
    if what == "command":
        run_command(first, rest)
    else:
        run_cases(Path(first), *(words.split(",") if words else [] for words in (*rest, "")[:2]))
