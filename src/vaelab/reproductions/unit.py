"""One curve of a reproduction: a training that is looked at on its way, kept in a folder, and gone on with later."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import __version__
from ..durable import write_durably
from ..errors import TrainingError
from ..objectives import Objective
from ..part import evaluating
from ..signals import Signals
from ..training import History, Rows, Settings, optimise, steps_per_epoch, validation_bound
from ..training.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from ..training.state import Tree

FILE = "curve.json"
EVERY = 120.0  # seconds between checkpoints
TRIAL = 300  # steps of each rate that may be chosen
JUDGED = 5000  # rows, training and test, of a look

Figures = dict[str, Any]
Build = Callable[[Rows], tuple[nn.Module, Objective, Settings]]
Measure = Callable[[nn.Module, Rows, Rows, int], Figures]


def judged(rows: Rows, train: Rows, most: int = JUDGED) -> Rows:
    """Return the rows that are looked at: no more than there are to train on, so that a small version stays small."""
    return rows.first(min(most, len(train)))


def bounds(model: nn.Module, train: Rows, test: Rows, seed: int) -> Figures:
    """Return the bound at beta = 1 on training and test rows, in nats per row, one draw each, always the same."""
    with evaluating(model):
        found = [validation_bound(model, judged(rows, train), seed=seed) for rows in (train, test)]  # type: ignore[arg-type]
    return {"train": found[0].elbo, "test": found[1].elbo}


@dataclass(frozen=True)
class Unit:
    """What is trained on which rows, and how. Its name is the name of its folder.

    `rates`: those of which a short trial chooses one, by the bound on training rows; none: that of the settings. A
    curve that `goes_on` has a constant rate: more samples continue it. `measure` is taken `looks` times a decade of
    samples, and at the end; `finish` at the end alone.
    """

    name: str
    data: Callable[[], tuple[Rows, Rows]]
    build: Build
    rates: tuple[float, ...] = ()
    goes_on: bool = True
    looks: int = 10
    measure: Measure = bounds
    finish: Measure | None = None


@dataclass
class Found:
    """What a curve has come to: `looks` hold "samples" and what was measured; seconds are processor time."""

    name: str
    seed: int
    samples: int = 0
    rows: tuple[int, int] = (0, 0)
    rate: float | None = None
    seconds: float = 0.0
    looks: list[Figures] = field(default_factory=list)
    finish: Figures = field(default_factory=dict)
    versions: Figures = field(default_factory=dict)

    def last(self, name: str) -> float | None:
        """Return the last value of a figure, None if there is none yet."""
        return next((look[name] for look in reversed(self.looks) if name in look), None)

    def at(self, name: str, samples: float) -> float | None:
        """Return a figure where the curve had seen so many samples, by a straight line between looks over log n."""
        known = [(math.log(look["samples"]), look[name]) for look in self.looks if name in look]
        where = math.log(samples)
        for (a, u), (b, v) in pairwise(known):
            if a <= where <= b:
                return float(u + (v - u) * (where - a) / (b - a))
        return float(known[-1][1]) if known and abs(known[-1][0] - where) < 0.01 else None


def folder_of(unit: Unit, work: Path, samples: int) -> Path:
    """Return the folder of a curve; one whose schedule ends with its samples has one for each number of them."""
    return work / (unit.name if unit.goes_on else f"{unit.name}-{samples}")


def read(unit: Unit, work: Path, samples: int) -> Found | None:
    """Return what is known of a curve, None if nothing is."""
    path = folder_of(unit, work, samples) / FILE
    return Found(**json.loads(path.read_text())) if path.exists() else None


def done(unit: Unit, found: Found, samples: int, *, last: bool = True) -> bool:
    """Tell whether a curve has seen so many samples and, where this is the `last` stretch, been measured at its end."""
    return found.samples >= samples and (bool(found.finish) or not last or unit.finish is None)


def trained(unit: Unit, work: Path, samples: int) -> nn.Module | None:
    """Return the model at the end of a curve; None if it was run elsewhere."""
    tree, _ = load_checkpoint(folder_of(unit, work, samples))
    if tree is None:
        return None
    _, model, _, _ = _made(unit, unit.data()[0], 0)
    model.load_state_dict(tree["now"]["model"])
    return model.eval()


def run(unit: Unit, work: Path, samples: int, seed: int, signals: Signals, *, last: bool = True) -> Found:
    """Bring a curve to so many samples, from where it stands; KeyboardInterrupt after a signal, its state then kept.

    `finish` is measured if this is the `last` stretch.
    """
    found = read(unit, work, samples)
    ends = last and unit.finish is not None
    if found is not None and done(unit, found, samples, last=last):
        return found
    folder = folder_of(unit, work, samples)
    folder.mkdir(parents=True, exist_ok=True)
    train, test = unit.data()
    if found is None:
        remove_checkpoint(folder)
        found = Found(unit.name, seed, rows=(len(train), len(test)), rate=_chosen(unit, train, seed, samples))
    settings, model, objective, found.rate = _made(unit, train, seed, found.rate)
    epochs = max(1, math.ceil(max(samples, found.samples) / len(train)))
    keeper = _Keeper(folder, epochs * steps_per_epoch(len(train), settings.batch_size), signals)
    before, start = found.seconds, time.process_time()
    looks: list[Figures] = []

    def write() -> None:
        found.looks, found.versions = list(looks) or found.looks, versions()
        found.seconds = before + time.process_time() - start
        write_durably(folder / FILE, json.dumps(asdict(found), indent=1).encode())

    def report(record: dict[str, Any], history: History) -> None:
        seen = record["epoch"] * len(train)
        last = next((r["look"]["samples"] for r in reversed(history.records) if "look" in r), 0)
        step = 10 ** (1 / unit.looks)
        if last and math.log(seen) // math.log(step) == math.log(last) // math.log(step) and record["epoch"] < epochs:
            return
        record["look"] = {"samples": seen, **unit.measure(model, train, test, seed)}
        looks[:] = [r["look"] for r in history.records if "look" in r]
        write()

    history = optimise(model, objective, train, None, replace(settings, epochs=epochs, seed=seed), report, keeper)
    if history.stopped == "interrupted":
        write()
        raise KeyboardInterrupt
    found.samples = epochs * len(train)
    looks[:] = [r["look"] for r in history.records if "look" in r]
    found.finish = {}
    if ends and unit.finish is not None:
        found.finish = unit.finish(model, train, test, seed)
    write()
    return found


def versions() -> dict[str, str]:
    """Return what the figures were made with."""
    return {"vaelab": __version__, "torch": str(torch.__version__), "python": platform.python_version()}


def _made(
    unit: Unit, train: Rows, seed: int, rate: float | None = None
) -> tuple[Settings, nn.Module, Objective, float]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # initial weights come from the global generator
        model, objective, settings = unit.build(train)
    rate = settings.lr if rate is None else rate
    return replace(settings, lr=rate), model, objective, rate


def _chosen(unit: Unit, train: Rows, seed: int, samples: int) -> float | None:
    """Return the rate whose bound on training rows is best after a short trial."""
    if not unit.rates:
        return None
    reached: dict[float, float] = {}
    for rate in unit.rates:
        settings, model, objective, _ = _made(unit, train, seed, rate)
        few = train.first(min(samples, TRIAL * settings.batch_size))
        epochs = max(1, round(min(samples, TRIAL * settings.batch_size) / len(few)))
        try:
            optimise(model, objective, few, None, replace(settings, epochs=epochs, seed=seed))
            value = bounds(model, train.first(1000), train.first(100), seed)["train"]
        except TrainingError:
            continue
        reached[rate] = value if math.isfinite(value) else -math.inf
    return max(reached, key=reached.__getitem__, default=unit.rates[0])


class _Keeper:
    """Keeps the state of a curve in its folder: now and then, after a signal, and after the last step."""

    def __init__(self, folder: Path, steps: int, signals: Signals) -> None:
        self.folder, self.steps, self.signals, self.step = folder, steps, signals, 0
        self.next = time.perf_counter() + EVERY

    def restore(self) -> Tree | None:
        """Return the state to go on from; None to begin."""
        tree, _ = load_checkpoint(self.folder)
        self.step = 0 if tree is None else tree["state"]["step"]
        return tree

    def after_step(self, capture: Callable[[], Tree]) -> None:
        """Save the state if it is time to; after a signal save it and raise KeyboardInterrupt."""
        self.step += 1
        asked = self.signals.asked is not None
        if asked or self.step == self.steps or time.perf_counter() >= self.next:
            save_checkpoint(self.folder, capture())
            self.next = time.perf_counter() + EVERY
        if asked:
            raise KeyboardInterrupt
