"""Card 3: with enough rows in a batch, one draw of z for each is enough."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import recipes
from ..evaluation import Estimate
from ..objectives import ELBO
from ..training import History, Rows, validation_bound
from . import lab
from .base import Trial, experiment
from .picture import BLUE, VERMILION, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANY = 10  # L of the arm that is compared with


@dataclass
class Arm:
    """What so many rows in a batch and so many draws for each reach, and what that takes."""

    bound: Tensor
    seconds: float
    curve: list[tuple[int, float]] = field(default_factory=list)


def trained(trial: Trial, rows_in_batch: int, draws: int) -> Arm:
    """Train from the weights of the seed; every arm takes the same number of steps."""
    train, held_out = lab.digits(trial.seed, values="binary")
    judged, looking = Rows(held_out), 0.0
    curve: list[tuple[int, float]] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        model, _ = recipes.vae((1, 8, 8), 5, hidden=(300,))

    def look(record: dict[str, Any], history: History) -> None:
        nonlocal looking
        start = time.process_time()
        if not curve or record["step"] >= curve[-1][0] + 60:
            curve.append((record["step"], validation_bound(model, judged, draws=1000)[0]))
        looking += time.process_time() - start

    steps = 4000 if trial.full else 600
    if rows_in_batch == 1:  # an epoch would be longer than the whole run
        train = train.take(torch.randperm(len(train), generator=trial.generator("rows"))[:steps].tolist())
    start = time.process_time()
    lab.train(model, train, steps=steps, objective=ELBO(samples=draws), batch_size=rows_in_batch, seed=trial.seed,
              report=look)  # fmt: skip
    seconds = time.process_time() - start - looking
    return Arm(lab.bound_rows(model, held_out, samples=50, seed=trial.seed), seconds, curve)


@experiment(
    3,
    "What does a minibatch do to it?",
    statement="with enough rows in the batch (100) one draw per row is enough",
    control="one row in a batch, one draw, at the same number of steps",
)
def measure(trial: Trial) -> None:
    """Held-out bounds of (100 rows, 1 draw) and (100 rows, 10 draws), paired by row, and the time of both."""
    rows_in_batch = 1 if trial.control else 100
    lab.warm_up()
    one, many = trained(trial, rows_in_batch, 1), trained(trial, 100, MANY)
    gain = Estimate.of(many.bound - one.bound)
    trial.claim(
        f"{MANY} draws in the place of 1 gain no more than 2 standard errors, or 0.5 nats, of the held-out bound",
        gain.value <= max(2 * gain.se, 0.5),
        gain=gain,
        bound_1_draw=Estimate.of(one.bound),
        bound_10_draws=Estimate.of(many.bound),
    )
    trial.claim(
        "one draw takes less than 0.8 of the processor time",
        one.seconds < 0.8 * many.seconds,
        share=one.seconds / many.seconds,
        seconds_1_draw=one.seconds,
        seconds_10_draws=many.seconds,
    )

    def paint(figure: Figure) -> None:
        axis = figure.subplots()
        for arm, colour, style, name in (
            (one, BLUE, "o-", f"{rows_in_batch} rows, 1 draw: {one.seconds:.1f} s"),
            (many, VERMILION, "s--", f"100 rows, {MANY} draws: {many.seconds:.1f} s"),
        ):
            axis.plot(*zip(*arm.curve), style, color=colour, markersize=4, label=name)
        tidy(axis, "steps", "held-out bound, nats per row", legend="lower right")

    trial.draw(paint, width=8)
