"""Where a run is: everything that its next step depends on, in one place, so that it can be kept and put back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .adam import Adam
from .settings import Settings
from .trouble import Watch

Tree = dict[str, Any]  # of dicts, lists, tensors, numbers, strings and None
Optimisers = dict[str, tuple[torch.optim.Optimizer, list[nn.Parameter]]]


@dataclass
class History:
    """What happened: one record per report, which was best, which steps were undone, why it stopped.

    `skipped` counts the steps undone; `bad_steps` tells the first twenty: step, fault, what was wrong, the rows.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    skipped: int = 0
    first_bad: str | None = None
    bad_steps: list[dict[str, Any]] = field(default_factory=list)
    halvings: int = 0
    notes: list[str] = field(default_factory=list)
    compiled: bool | None = None  # None before the first step; the bits of a run are those of one mode
    stopped: str = "finished"
    seconds: float = 0.0

    def tree(self) -> Tree:
        """Return this as plain values; the best record as its place."""
        best = next((i for i, record in enumerate(self.records) if record is self.best), None)
        return {**vars(self), "best": best}

    @classmethod
    def of(cls, tree: Tree) -> History:
        """Return the history that `tree` came from."""
        history = cls(**{**tree, "records": [judged(record) for record in tree["records"]]})
        history.best = None if tree["best"] is None else history.records[tree["best"]]
        return history


def judged(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of training with the bound that it is judged by: in files that have none, the ELBO."""
    return {**record, "bound": record["elbo"]} if "elbo" in record and "bound" not in record else record


class Keeper(Protocol):
    """Who keeps the state of a run. Training asks it for a state to go on from, and shows it each step's."""

    def restore(self) -> Tree | None:
        """Return the state to go on from; None to begin."""

    def after_step(self, capture: Callable[[], Tree]) -> None:
        """Keep `capture()` if it is time to; raise KeyboardInterrupt to end the run."""


@dataclass
class State:
    """Where a run is. The weights and the optimisers live in their own objects: see `snapshot`.

    `row` counts the rows of the epoch's permutation that are done; `order` is the generator at the start of the epoch,
    from which that permutation is drawn again; `good` is the last snapshot that was fit to go on from.
    """

    batch_size: int
    total_steps: int | None  # None where the clock decides
    epoch: int = 0
    row: int = 0
    step: int = 0
    loss: float = 0.0  # sum over the rows of this epoch whose step was taken
    counted: int = 0
    since_best: int = 0
    last_report: float = 0.0
    bad_in_a_row: int = 0
    rate: float = 1.0  # what is left of the learning rate after halvings
    seconds: float = 0.0  # of earlier sittings
    order: Tensor | None = None
    best: dict[str, Tensor] | None = None
    good: Tree | None = None
    watch: Watch = field(default_factory=Watch)
    history: History = field(default_factory=History)

    def tree(self) -> Tree:
        """Return this as plain values and tensors, which are not copied."""
        return {**vars(self), "watch": vars(self.watch), "history": self.history.tree()}

    @classmethod
    def of(cls, tree: Tree) -> State:
        """Return the state that `tree` came from."""
        return cls(**{**tree, "watch": Watch(**tree["watch"]), "history": History.of(tree["history"])})


def one_optimiser_each(owners: dict[str, list[nn.Parameter]], settings: Settings, device: torch.device) -> Optimisers:
    """Return one optimiser per owner (fused where torch has it); refuse a parameter with two owners."""
    seen: dict[int, str] = {}
    for owner, parameters in owners.items():
        for parameter in parameters:
            if seen.setdefault(id(parameter), owner) != owner:
                raise UsageError(
                    f"the owners {seen[id(parameter)]!r} and {owner!r} share a parameter; each needs its own."
                )
    return {name: (_optimiser(parameters, settings, device), parameters) for name, parameters in owners.items()}


def _optimiser(parameters: list[nn.Parameter], settings: Settings, device: torch.device) -> torch.optim.Optimizer:
    rate, decay = settings.lr, settings.weight_decay
    if settings.optimiser == "adagrad":
        return torch.optim.Adagrad(parameters, lr=rate, weight_decay=decay, fused=device.type == "cpu")
    fused = device.type in ("cpu", "cuda")
    return Adam(parameters, lr=rate, eps=settings.epsilon, weight_decay=decay, fused=fused)


def snapshot(model: nn.Module, objective: nn.Module, optimisers: Optimisers) -> Tree:
    """Return the weights, the objective's own state, and each optimiser's state by owner and parameter; not copied."""
    names = _names(model, objective)
    return {
        "model": dict(model.state_dict()),
        "objective": dict(objective.state_dict()),
        "optimisers": {
            owner: {names[id(p)]: dict(optimiser.state[p]) for p in parameters if p in optimiser.state}
            for owner, (optimiser, parameters) in optimisers.items()
        },
    }


def put_back(tree: Tree, model: nn.Module, objective: nn.Module, optimisers: Optimisers) -> None:
    """Make the weights, the objective and the optimisers what they were at `snapshot`."""
    model.load_state_dict(tree["model"])
    objective.load_state_dict(tree["objective"])
    names = _names(model, objective)
    for owner, (optimiser, parameters) in optimisers.items():
        kept = tree["optimisers"][owner]
        optimiser.state = defaultdict(dict)
        for parameter in parameters:
            if (mine := kept.get(names[id(parameter)])) is not None:
                # the count of steps lies where the optimiser reads it: beside the weights only if it is fused
                near = parameter.device if optimiser.defaults["fused"] else torch.device("cpu")
                places = {key: near if key == "step" else parameter.device for key in mine}
                optimiser.state[parameter] = {key: value.to(places[key], copy=True) for key, value in mine.items()}


def copied(tree: Any) -> Any:
    """Return a tree with its tensors copied."""
    if isinstance(tree, dict):
        return {key: copied(value) for key, value in tree.items()}
    return tree.detach().clone() if isinstance(tree, Tensor) else tree


def _names(model: nn.Module, objective: nn.Module) -> dict[int, str]:
    named = [*model.named_parameters("model"), *objective.named_parameters("objective")]
    return {id(parameter): name for name, parameter in reversed(named)}
