"""Training from Python: `train`, by the options of the command, and `fit`, for a model of one's own parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from .choices import check_support
from .data import Dataset, open_source
from .objectives import ELBO, Objective
from .plan import Report
from .planning import pick_device, plan_run
from .run import Run
from .splits import split
from .training import History, Progress, Rows, Settings, optimise


def train(source: Any, *, progress: str = "auto", **options: Any) -> Run:
    """Train a model on a source (a name, file, folder, array or frame) and return the run.

    The options are those of `vaelab train`: see `vaelab.options.TrainOptions`. `progress` is auto, rich, notebook,
    plain or off. Nothing is written: `run.save(path)`.

    >>> run = vaelab.train("digits", latent_dim=2, hidden="32", epochs=2, progress="off")
    >>> run.generate(4).shape
    torch.Size([4, 8, 8])
    """
    with Progress(progress) as shown:
        return plan_run(source, **options).run(shown.report)


def fit(
    model: nn.Module,
    data: Any,
    *,
    objective: Objective | None = None,
    validation: float = 0.1,
    epochs: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    device: str = "auto",
    callbacks: Sequence[Report] = (),
    standardise: bool = False,
    progress: str = "auto",
    **settings: Any,
) -> Run:
    """Train a model of your own parts on data, by the one loop, and return the run.

    `data` is anything that `train` takes; real values are used as they stand unless `standardise`. Callbacks are called
    with (record, history) after each validation. Further settings are those of `vaelab.training.Settings`.

    >>> model, objective = recipes.vae((5,), 2, likelihood="gaussian")
    >>> run = vaelab.fit(model, torch.randn(200, 5), objective=objective, epochs=2, progress="off")
    >>> len(run.history.records)
    2
    """
    target = pick_device(device)
    splits = split(data if isinstance(data, Dataset) else open_source(data), validation, seed, scale=standardise)
    held_out = splits.validation
    check_support(model, splits.schema)
    with Progress(progress) as shown:

        def report(record: dict[str, Any], history: History) -> None:
            for callback in (shown.report, *callbacks):
                callback(record, history)

        history = optimise(
            model.to(target),
            objective or ELBO(),
            Rows(splits.train, device=target),
            None if held_out is None else Rows(held_out, device=target),
            Settings(epochs=epochs, minutes=minutes, seed=seed, **settings),
            report,
        )
    return Run(model.cpu(), splits.schema, {"seed": seed}, history, splits.by_name())
