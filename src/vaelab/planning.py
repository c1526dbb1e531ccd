"""From a source and options to a plan: everything is decided and checked before training starts."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import torch

from .choices import as_the_likelihood_reads, check_support, choose_parts
from .data.conditions import labelled_rows, width
from .errors import EnvironmentFault, UsageError
from .options import TrainOptions
from .plan import Plan
from .recipes import find
from .splits import read_splits
from .start import fitting_weights, start_of
from .training import Settings, memory_said, steps_per_epoch


def plan_run(source: Any, **options: Any) -> Plan:
    """Decide a run: read the data, choose the likelihood, build the model. What is wrong is raised before training.

    >>> plan = vaelab.plan_run("digits", latent_dim=2)
    >>> plan
    Plan(vae, digits: 1,617 rows to train)
    >>> print(plan.describe().splitlines()[1])
    split    1,617 train, 180 validation
    """
    chosen, start = start_of(TrainOptions.checked(**options))
    recipe = find(chosen.recipe)
    device = pick_device(chosen.device)
    if chosen.threads is not None and chosen.threads < 1:
        raise UsageError(f"threads must be at least 1, got {chosen.threads}.")
    Settings(**_asked(chosen))  # what is out of range is said before any data are read
    splits = read_splits(source, chosen, real=recipe.real, schema=None if start is None else start.schema)
    schema = splits.schema
    if chosen.augment and schema.layout != "image":
        raise UsageError(f"--augment {chosen.augment} moves images, but {schema.name} is {schema.describe()}.")
    usual = recipe.usual_latent_dim(schema.dims, bool(schema.kinds))
    latent_dim = usual if chosen.latent_dim is None else read_dims(chosen.latent_dim)

    settings = Settings(**{**recipe.settings(splits.train), **_asked(chosen)})
    epoch = steps_per_epoch(len(splits.train), settings.batch_size)
    parts, specs, reason = choose_parts(chosen, recipe, schema, epoch)
    asked = chosen.likelihood is not None
    splits = splits.under(as_the_likelihood_reads(splits, specs["likelihood"].part, asked))
    classes: dict[str, Any] = {}
    if "classes" in recipe.parts:
        rows, names = labelled_rows(splits.train, chosen.labelled, chosen.seed)
        splits = replace(splits, train=rows)
        classes = {"classes": names, "labelled": rows.condition.sum().item() / len(rows)}  # type: ignore[union-attr]
    elif chosen.labelled is not None:
        raise UsageError(f"--labelled is for the recipe m2, not for {recipe.name}.")
    # initial weights come from the global generator: seeded here, and put back
    with torch.random.fork_rng(devices=[]), memory_said("this model"):
        torch.manual_seed(settings.seed)
        model, objective = recipe(
            schema.model_shape, latent_dim, **parts | {"condition": width(schema.conditions)} | classes
        )
    check_support(model, splits.schema)
    initial, note = ({}, "") if start is None else fitting_weights(model, start, str(chosen.start_from))
    plan = Plan(
        source, chosen, recipe, splits, specs, reason, model.to(device), objective, settings, device, initial, note
    )
    plan.rehearse()
    return plan


def _asked(options: TrainOptions) -> dict[str, Any]:
    """Return the settings of training that were asked for."""
    named = ("epochs", "minutes", "batch_size", "lr", "decay", "clip", "patience", "seed", "compile", "precision")
    return {name: value for name in named if (value := getattr(options, name)) is not None}


def read_dims(asked: int | str) -> int | tuple[int, ...]:
    """Return the latent dimensions: 20, or of each layer "20,10"; UsageError for what is no such number."""
    words = [asked] if isinstance(asked, int) else asked.split(",")
    try:
        dims = tuple(int(word) for word in words)
    except ValueError:
        raise UsageError(f'latent_dim is {asked!r}: expected a number, or one for each layer, "20,10".') from None
    if min(dims) < 1:
        raise UsageError(f"latent_dim must be at least 1, got {min(dims)}.")
    return dims if len(dims) > 1 else dims[0]


def pick_device(name: str) -> torch.device:
    """Return the device; "auto" is CUDA where there is one, else the CPU. Never a silent fall-back for a named one."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if available["cuda"] else "cpu"
    if name not in available:
        raise UsageError(f"device is {name!r}: expected auto, cpu, cuda or mps.")
    if not available[name]:
        raise EnvironmentFault(f"no {name} device here. Use --device cpu.")
    # of several processes on a machine each has its own, by the number that torchrun gives it
    place = os.environ.get("LOCAL_RANK") if name == "cuda" else None
    return torch.device(name) if place is None else torch.device(name, int(place))
