"""The one training loop (Kingma & Welling 2013, Algorithm 1), for every model and objective."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..conditional import Conditional
from ..errors import TrainingError, UsageError
from ..models import Model, Terms
from ..models.terms import layers
from ..noise import Noise, stream
from ..objectives import Objective
from .rows import Batch, Rows
from .schedules import learning_rate
from .start import start_from_data
from .validate import validation_bound

GIVE_UP_AFTER = 50  # non-finite steps in a row
STEPS = 20_000  # of a run whose length is not given


@dataclass(frozen=True)
class Settings:
    """How long and how fast: `epochs` or `minutes` (else about 20,000 steps), batch size, Adam's rate and its schedule.

    Training stops early after `patience` reports without a better validation bound; there are at most about 200.
    """

    epochs: int | None = None
    minutes: float | None = None
    batch_size: int = 100
    lr: float = 3e-3
    lr_warmup: int = 100
    decay: str = "cosine"
    clip: float | None = None
    patience: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            "epochs": (self.epochs is None or self.epochs >= 1, "at least 1"),
            "minutes": (self.minutes is None or 0 < self.minutes < math.inf, "above 0"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "lr": (0 < self.lr < math.inf, "above 0"),
            "lr_warmup": (self.lr_warmup >= 0, "at least 0"),
            "decay": (self.decay in ("cosine", "none"), "cosine or none"),
            "clip": (self.clip is None or self.clip > 0, "above 0"),
            "patience": (self.patience >= 1, "at least 1"),
            "seed": (0 <= self.seed < 2**63, "from 0 to 2^63 - 1"),
        }
        for name, (good, expected) in rules.items():
            if not good:
                raise UsageError(f"{name} is {getattr(self, name)!r}: expected {expected}.")
        if self.epochs is not None and self.minutes is not None:
            raise UsageError("give epochs or minutes, not both.")

    def planned_epochs(self, rows: int) -> int | None:
        """Return the number of epochs; None if the clock decides."""
        if self.minutes is not None:
            return None
        return self.epochs or min(3000, max(20, round(STEPS / math.ceil(rows / self.batch_size))))


@dataclass
class History:
    """What happened: one record per report, which was best, how many steps were skipped, why it stopped."""

    records: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    skipped: int = 0
    first_bad: str | None = None
    stopped: str = "finished"
    seconds: float = 0.0


def optimise(
    model: nn.Module,
    objective: Objective,
    train: Rows,
    valid: Rows | None = None,
    settings: Settings | None = None,
    report: Callable[[dict[str, Any], History], None] = lambda record, history: None,
) -> History:
    """Train `model` in place and return the history.

    With validation rows the weights that end in the model are those of the best validation bound at beta = 1; without,
    the last ones. Ctrl-C ends the loop as if its time were up. Raises TrainingError after 50 non-finite steps in a row,
    the model then left as it would be at the end.
    """
    settings = settings or Settings()
    start_from_data(model, objective, train, settings.seed)
    run = _Run(model, objective, train, valid, settings, report)
    try:
        run.loop()
    except KeyboardInterrupt:
        run.history.stopped = "interrupted"
    except TrainingError as error:
        run.history.stopped, error.history = "not finite", run.history
        raise
    finally:
        run.close()
    return run.history


def time_per_step(model: nn.Module, objective: Objective, train: Rows, settings: Settings, steps: int = 10) -> float:
    """Return the seconds that one training step takes, measured on a copy of the model."""
    run = _Run(copy.deepcopy(model), copy.deepcopy(objective), train, None, settings, lambda record, history: None)
    index = torch.arange(min(settings.batch_size, len(train)), device=train.data.device)
    for step in range(steps + 2):
        if step == 2:
            start = time.perf_counter()
        run.step(train.at(index, run.noise))
    return (time.perf_counter() - start) / steps


class _Run:
    """The state of one call of `optimise`."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        train: Rows,
        valid: Rows | None,
        settings: Settings,
        report: Callable[[dict[str, Any], History], None],
    ) -> None:
        if not isinstance(model, Model):
            raise UsageError(f"{type(model).__name__} is no model: it needs the methods terms() and generate().")
        self.model, self.objective, self.train = model, objective, train
        self.valid = None if valid is None else valid.drawn(settings.seed)
        self.settings, self.report, self.history = settings, report, History()
        device = train.data.device
        self.order = stream(settings.seed, "order")
        self.noise = Noise(stream(settings.seed, "noise", device))
        self.optimisers = _optimisers(objective.owners(model), settings.lr, device)
        self.updating = [m for m in model.modules() if isinstance(m, Conditional) and m.updates]
        self.epochs = settings.planned_epochs(len(train))
        self.total_steps = self.epochs and self.epochs * math.ceil(len(train) / settings.batch_size)
        self.steps, self.bad_in_a_row, self.start = 0, 0, time.perf_counter()
        self.best_state: dict[str, Tensor] | None = None

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start

    @property
    def progress(self) -> float:
        """The share of the run that is done, by steps or by the clock."""
        if self.total_steps:
            return self.steps / self.total_steps
        return self.seconds / (60 * (self.settings.minutes or 1))

    def loop(self) -> None:
        settings = self.settings
        every = max(1, (self.epochs or 0) // 200)
        epoch, since_best, last_report = 0, 0, 0.0
        self.model.train()
        while self.progress < 1:
            total, rows = torch.zeros((), dtype=torch.float64, device=self.train.data.device), 0
            for batch in self.train.shuffled(settings.batch_size, self.order, self.noise):
                loss = self.step(batch)
                if loss is not None:
                    total, rows = total + loss, rows + len(batch.x)
                if self.progress >= 1:
                    break
            epoch += 1
            by_clock = not self.epochs and self.seconds - last_report < 0.3 * (settings.minutes or 1)
            if (epoch % every or by_clock) and self.progress < 1:
                continue
            last_report = self.seconds
            since_best = 0 if self._record(epoch, total.item() / rows if rows else None) else since_best + 1
            if self.valid is not None and since_best >= settings.patience:
                self.history.stopped = f"no better validation bound in {settings.patience} reports"
                return

    def step(self, batch: Batch) -> Tensor | None:
        """Take one step of every optimiser; return the summed loss, or None if the step was skipped."""
        settings = self.settings
        rate = learning_rate(settings.lr, self.progress, self.steps, warmup=settings.lr_warmup, decay=settings.decay)
        losses, terms = self.objective(
            self.model,
            batch.x,
            noise=self.noise,
            step=self.steps,
            observed=batch.observed,
            condition=batch.condition,
        )
        self.steps += 1
        total = torch.zeros((), dtype=torch.float64, device=batch.x.device)
        for owner, (optimiser, parameters) in self.optimisers.items():
            loss = losses[owner]
            gradients = torch.autograd.grad(loss.mean(), parameters, retain_graph=len(losses) > 1, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients):
                parameter.grad = gradient
            norm = nn.utils.get_total_norm([g for g in gradients if g is not None])
            if not torch.isfinite(loss.detach().sum() + norm):
                self._skip(terms, loss)
                return None
            if settings.clip is not None:
                nn.utils.clip_grads_with_norm_(parameters, settings.clip, norm)
            for group in optimiser.param_groups:
                group["lr"] = rate
            total += loss.detach().double().sum()
        for optimiser, _ in self.optimisers.values():
            optimiser.step()
        for part in self.updating:
            part.update(terms)
        self.bad_in_a_row = 0
        return total

    def _skip(self, terms: Terms, loss: Tensor) -> None:
        self.history.skipped += 1
        self.bad_in_a_row += 1
        if self.history.first_bad is None:
            self.history.first_bad = f"step {self.steps}: {first_bad_term(terms, loss, self.model)}"
        if self.bad_in_a_row >= GIVE_UP_AFTER:
            raise TrainingError(
                f"the loss is not finite: {self.bad_in_a_row} steps in a row, first at {self.history.first_bad}. "
                "Try a lower learning rate (--lr), --clip 1000, or look at the data."
            )

    def _record(self, epoch: int, loss: float | None) -> bool:
        """Validate, report, and keep the weights if they are the best so far; return whether they are."""
        record: dict[str, Any] = {"epoch": epoch, "step": self.steps, "seconds": self.seconds, "loss": loss}
        record["progress"] = min(1.0, self.progress)
        better = loss is not None  # an epoch without a step is no candidate
        if self.valid is not None:
            self.model.eval()
            elbo, reconstruction, kl = validation_bound(self.model, self.valid, seed=self.settings.seed)
            self.model.train()
            record |= {"elbo": elbo, "reconstruction": reconstruction, "kl": kl}
            better &= math.isfinite(elbo) and (self.history.best is None or elbo > self.history.best["elbo"])
        if better:
            self.history.best = record
            if self.valid is not None:
                self.best_state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.history.records.append(record)
        self.report(record, self.history)
        return better

    def close(self) -> None:
        """Leave the model with its best weights, without gradients, ready for use."""
        if self.best_state is not None:
            self.model.load_state_dict(self.best_state)
        for parameter in self.model.parameters():
            parameter.grad = None
        self.model.eval()
        self.history.seconds = self.seconds


Optimisers = dict[str, tuple[torch.optim.Optimizer, list[nn.Parameter]]]


def _optimisers(owners: dict[str, list[nn.Parameter]], lr: float, device: torch.device) -> Optimisers:
    """Return one Adam per owner (fused where torch has it); refuse a parameter with two owners."""
    seen: dict[int, str] = {}
    for owner, parameters in owners.items():
        for parameter in parameters:
            if seen.setdefault(id(parameter), owner) != owner:
                raise UsageError(
                    f"the owners {seen[id(parameter)]!r} and {owner!r} share a parameter; each needs its own."
                )
    fused = device.type in ("cpu", "cuda")
    return {name: (torch.optim.Adam(parameters, lr=lr, fused=fused), parameters) for name, parameters in owners.items()}


def first_bad_term(terms: Terms, loss: Tensor, model: nn.Module) -> str:
    """Name the first quantity that is not finite, in the order in which they are computed."""
    for name, q in layers(terms.q).items():
        for parameter, value in {"mean": q.mean, "variance": q.variance}.items():
            if not torch.isfinite(value).all():
                return f"the {parameter} of q({name} | x)"
    densities = {"log p(x | z)": terms.log_px, "log p(z)": terms.log_pz, "log q(z | x)": terms.log_qz}
    for label, density in densities.items():
        if density is not None and not torch.isfinite(density).all():
            return label
    for name, kl in terms.kl.items():
        if not torch.isfinite(kl).all():
            return f"KL of {name}, dimension {int((~torch.isfinite(kl)).flatten(0, 1).any(0).nonzero()[0])}"
    if not torch.isfinite(loss).all():
        return "the objective"
    for name, weights in model.named_parameters():
        if weights.grad is not None and not torch.isfinite(weights.grad).all():
            return f"the gradient of {name}"
    return "an overflow in the sum of gradients"
