"""Card 17: the trick makes the bound something that gradient ascent can work on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import recipes
from ..evaluation import Estimate
from ..objectives import ELBO, Objective, Score
from ..training import History, Rows, validation_bound
from . import lab
from .base import Trial, experiment
from .picture import BLUE, GREEN, VERMILION, tidy
from .scores import Plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWS, LATENTS = 4, 10


@dataclass
class Arm:
    """One way to the gradient: what its model reaches, and the curve on the way there."""

    bound: Tensor
    seconds: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@experiment(
    17,
    "Purpose of the trick",
    statement="to make the bound something gradient ascent can work on: low-variance gradients through z",
    control="both reparameterised",
)
def measure(trial: Trial) -> None:
    """Held-out bound after equally many steps and draws: reparameterised against score function, paired by row."""
    train, held_out = lab.digits(trial.seed, values="binary")
    rows = Rows(held_out)
    reference = "reparameterised"
    ways: dict[str, Objective] = {
        reference: ELBO(samples=DRAWS),
        "score, leave-one-out": ELBO(samples=DRAWS) if trial.control else Score(DRAWS),
        "score, plain": ELBO(samples=DRAWS) if trial.control else Plain("none", DRAWS),
    }
    arms: dict[str, Arm] = {}
    lab.warm_up()
    for name, objective in ways.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(trial.seed)  # the same weights at the start
            model, _ = recipes.vae((1, 8, 8), LATENTS, hidden=(64,))
        arm, start = Arm(rows.data), time.process_time()

        def look(record: dict[str, Any], history: History, arm: Arm = arm, start: float = start) -> None:
            arm.seconds.append(time.process_time() - start)
            arm.values.append(validation_bound(model, rows, draws=1000)[0])  # noqa: B023

        lab.train(
            model, train, steps=3000 if trial.full else 420, objective=objective, lr=2e-3, seed=trial.seed, report=look
        )
        arm.bound = lab.bound_rows(model, held_out, samples=50, seed=trial.seed)
        arms[name] = arm
    for name in list(ways)[1:]:
        gain = Estimate.of(arms[reference].bound - arms[name].bound)
        trial.claim(
            f"reparameterised ends better than {name} by more than 5 standard errors (held-out rows, paired)",
            gain.value > 5 * gain.se,
            gain=gain,
            reparameterised=Estimate.of(arms[reference].bound),
            other=Estimate.of(arms[name].bound),
        )
    trial.show(
        "processor time of the equally many steps, s (looks at the bound included)",
        **{name.replace(", ", "_").replace("-", "_"): arm.seconds[-1] for name, arm in arms.items()},
    )

    def paint(figure: Figure) -> None:
        axis = figure.subplots()
        for (name, arm), colour, style in zip(arms.items(), (BLUE, GREEN, VERMILION), ("-", "--", ":")):
            axis.plot(arm.seconds, arm.values, style, color=colour, label=name)
        tidy(axis, "processor time, s", "held-out bound, nats per row", legend="lower right")

    trial.draw(paint, width=8)
