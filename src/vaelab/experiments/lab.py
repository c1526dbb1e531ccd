"""What the experiments share: data, training by the one loop, ascent row by row, figures with standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .. import recipes
from ..data import Dataset, open_source
from ..evaluation import Estimate, evidence_rows
from ..models import VAE
from ..networks import PerRow
from ..noise import Given, Noise
from ..objectives import ELBO, Objective
from ..training import History, Rows, Settings, optimise

Report = Callable[[dict[str, Any], History], None]
F64 = torch.float64
LENIENT = 5.0  # standard errors that a sample mean may be off: one true claim in two million would be refused


def data_of(x: Tensor | Dataset) -> Dataset:
    """Return rows of real numbers as a data set, as they stand."""
    return x if isinstance(x, Dataset) else open_source(x.double().numpy())


def digits(seed: int, *, values: str = "real", held_out: int = 359) -> tuple[Dataset, Dataset]:
    """Return training and held-out rows of the 1,797 digits: "real" in [0, 1], "binary" by threshold, or "integer"."""
    data = open_source("digits", binarize="threshold" if values == "binary" else "none")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed)).tolist()
    parts = data.take(order[held_out:]), data.take(order[:held_out])
    if values != "real":
        return parts
    return tuple(open_source(d.x.double().flatten(1).numpy() / 16, labels=d.labels) for d in parts)  # type: ignore[return-value]


def train(
    model: nn.Module,
    data: Dataset | Tensor,
    *,
    steps: int,
    objective: Objective | None = None,
    batch_size: int = 100,
    lr: float = 3e-3,
    seed: int = 0,
    report: Report = lambda record, history: None,
) -> Any:
    """Train a model in place by the one loop, for about `steps` steps, and return it in eval mode."""
    data = data_of(data)
    dtype = next(model.parameters()).dtype
    epochs = max(1, round(steps / math.ceil(len(data) / batch_size)))
    settings = Settings(epochs=epochs, batch_size=min(batch_size, len(data)), lr=lr, seed=seed, lr_warmup=20)
    optimise(model, objective or ELBO(), Rows(data, dtype=dtype), None, settings, report)
    return model


def warm_up() -> None:
    """Take two steps of no use: the first of a process import what training needs, which a clock would count."""
    model, objective = recipes.vae((2,), 1, hidden=(2,), likelihood="gaussian:scale=1.0")
    train(model, torch.linspace(0, 1, 40, dtype=F64).reshape(20, 2), steps=2, objective=objective)


def ascend(
    model: VAE,
    x: Tensor,
    *,
    steps: int,
    noise: Noise,
    objective: Objective | None = None,
    lr: float = 0.05,
    look: Callable[[int], None] = lambda step: None,
) -> VAE:
    """Maximise a bound for rows that keep their order (what `networks.PerRow` needs), the rate falling to zero.

    A row's parameters are moved by its own loss alone, so the losses are summed.
    """
    objective = objective or ELBO()
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        look(step)
        losses, _ = objective(model, x, noise=noise, step=step)
        optimiser.zero_grad()
        losses["model"].sum().backward()
        optimiser.step()
        schedule.step()
    look(steps)
    return model.eval()


def bound_rows(model: VAE, data: Dataset | Tensor, *, samples: int = 100, seed: int = 0) -> Tensor:
    """Return the bound at beta = 1 of each row, (N,), float64."""
    dtype = next(model.parameters()).dtype
    return evidence_rows(model, Rows(data_of(data), dtype=dtype), samples=samples, seed=seed).elbo


def numbers(q: nn.Module) -> nn.Parameter:
    """Return the numbers, (rows, outputs), of a posterior that is optimised row by row."""
    network = q.network
    assert isinstance(network, PerRow)
    return network.values


def at_nodes(nodes: Tensor, log_w: Tensor, rows: int) -> tuple[Given, Tensor]:
    """Return the nodes of a rule for N(0, I) as noise for these rows, and the log-weights of the draws, (M, rows)."""
    noise = nodes.unsqueeze(1).expand(-1, rows, -1)
    return Given([noise]), log_w.unsqueeze(1).expand(-1, rows)


def mean(values: Tensor) -> Estimate:
    """Return mean and standard error of independent values (N,)."""
    return Estimate.of(values.detach().double().flatten())


def scores(draws: Tensor, truth: Tensor | float) -> Tensor:
    """(mean of R draws - truth) / standard error, entry by entry, for draws (R, ...)."""
    draws = draws.detach().double()
    error = draws.std(0) / math.sqrt(len(draws))
    return (draws.mean(0) - truth) / error


def variance(draws: Tensor) -> Estimate:
    """Return the variance of R independent draws (R, ...), summed over entries, and its standard error."""
    each = (draws - draws.mean(0)).square().flatten(1).sum(1)
    return Estimate.of(each * len(draws) / (len(draws) - 1))


def ratio(a: Estimate, b: Estimate) -> Estimate:
    """Return a / b of independent figures, its standard error to first order."""
    value = a.value / b.value
    return Estimate(value, abs(value) * math.hypot(a.se / a.value, b.se / b.value))


def slope(x: Iterable[float], y: Iterable[Estimate]) -> Estimate:
    """Return the slope of log y over log x by least squares weighted by the errors of y, and its standard error."""
    figures = list(y)
    at = torch.tensor([math.log(v) for v in x], dtype=F64)
    log_y = torch.tensor([math.log(v.value) for v in figures], dtype=F64)
    weight = torch.tensor([(v.value / v.se) ** 2 for v in figures], dtype=F64)
    centred = at - (weight * at).sum() / weight.sum()
    spread = (weight * centred.square()).sum()
    return Estimate(((weight * centred * log_y).sum() / spread).item(), (1 / spread.sqrt()).item())


def gradient(loss: Tensor, parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return the gradient as one vector, zero where the loss does not depend on a parameter."""
    parameters = list(parameters)
    parts = torch.autograd.grad(loss, parameters, allow_unused=True)
    return torch.cat([torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(parameters, parts)])
