"""What an experiment is: claims fixed before looking, measured figures, a picture, and a control that must not hold."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from ..errors import UsageError
from ..evaluation import Estimate
from ..noise import Noise, stream
from .picture import png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Measure = Callable[["Trial"], None]


@dataclass(frozen=True)
class Claim:
    """One statement, whether it holds (None: only shown, nothing is claimed), and the figures it rests on."""

    text: str
    holds: bool | None
    figures: dict[str, Any]

    def json(self) -> dict[str, Any]:
        """Return {"text", "holds", "figures"}; a figure is a number, {"value", "se"} or a list of them."""
        return {"text": self.text, "holds": self.holds, "figures": {k: plain(v) for k, v in self.figures.items()}}


@dataclass
class Trial:
    """One run of an experiment, as its function sees it: what to do, and where to put what was found."""

    card: int
    seed: int
    control: bool
    full: bool
    claims: list[Claim] = field(default_factory=list)
    paint: Callable[[Figure], None] | None = None
    size: tuple[float, float] = (9.0, 4.5)

    def claim(self, text: str, holds: bool, **figures: Any) -> None:
        """State a claim and whether the figures bear it out."""
        self.claims.append(Claim(text, bool(holds), figures))

    def show(self, text: str, **figures: Any) -> None:
        """Show figures about which nothing is claimed."""
        self.claims.append(Claim(text, None, figures))

    def draw(self, paint: Callable[[Figure], None], *, width: float = 9.0, height: float = 4.5) -> None:
        """Say how the picture is drawn, in inches; it is drawn when somebody asks for it."""
        self.paint, self.size = paint, (width, height)

    def generator(self, name: str) -> torch.Generator:
        """Return the generator of one named use of the seed."""
        return stream(self.seed, f"card {self.card} {name}")

    def noise(self, name: str) -> Noise:
        """Return the noise of one named use of the seed."""
        return Noise(self.generator(name))


@dataclass(frozen=True)
class Result:
    """What an experiment found. `seconds` is processor time: on a busy machine the clock says little."""

    experiment: Experiment
    seed: int
    control: bool
    full: bool
    claims: list[Claim]
    seconds: float
    paint: Callable[[Figure], None]
    size: tuple[float, float]

    @property
    def holds(self) -> bool:
        """Whether every claim holds; of a control, whether it does although it must not."""
        return all(claim.holds is not False for claim in self.claims)

    def picture(self) -> bytes:
        """Return the picture as a PNG file."""
        return png(self.paint, *self.size)

    @property
    def file_name(self) -> str:
        """The name of the picture's file: equal names have equal pictures."""
        ways = ("-control" if self.control else "") + ("-full" if self.full else "")
        return f"card-{self.experiment.card:02d}-seed-{self.seed}{ways}.png"

    def json(self, picture: str | None = None) -> dict[str, Any]:
        """Return the document that `vaelab experiment --json` prints."""
        return {
            "card": self.experiment.card,
            "question": self.experiment.question,
            "seed": self.seed,
            "claims": [claim.json() for claim in self.claims],
            "holds": self.holds,
            "control": self.experiment.control if self.control else None,
            "seconds": round(self.seconds, 2),
            "picture": picture,
        }


@dataclass(frozen=True)
class Experiment:
    """The experiment of one card: its question, the statement it holds to be true, what its control breaks."""

    card: int
    question: str
    statement: str
    control: str
    measure: Measure

    def run(self, *, seed: int = 0, control: bool = False, full: bool = False) -> Result:
        """Measure; equal seeds give equal figures, and no global random state is moved."""
        if seed < 0:
            raise UsageError(f"seed must be at least 0, got {seed}.")
        trial, start = Trial(self.card, seed, control, full), time.process_time()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # initial weights come from the global generator
            self.measure(trial)
        assert trial.paint is not None, f"card {self.card} draws nothing"
        seconds = time.process_time() - start
        return Result(self, seed, control, full, trial.claims, seconds, trial.paint, trial.size)


EXPERIMENTS: dict[int, Experiment] = {}


def experiment(card: int, question: str, *, statement: str, control: str) -> Callable[[Measure], Measure]:
    """Register the experiment of a card."""

    def register(measure: Measure) -> Measure:
        EXPERIMENTS[card] = Experiment(card, question, statement, control, measure)
        return measure

    return register


def find(card: int) -> Experiment:
    """Return the experiment of a card; UsageError for a card that is not in the deck."""
    if card not in EXPERIMENTS:
        raise UsageError(f"no card {card}: the deck has cards 1 to {max(EXPERIMENTS)}.")
    return EXPERIMENTS[card]


def plain(value: Any) -> Any:
    """Return a figure as JSON has it; what is not finite is null."""
    if isinstance(value, Estimate):
        return value.json()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, torch.Tensor):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
