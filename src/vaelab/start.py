"""Training that starts from another run: built as it is, reading data as it does, with its weights where they fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .errors import UsageError
from .folder import CONFIG_FILE
from .options import TrainOptions, read_toml
from .run import Run, load_model

INHERITED = ("latent_dim", "hidden", "network", "activation", "posterior", "likelihood")


def start_of(chosen: TrainOptions) -> tuple[TrainOptions, Run | None]:
    """Return the options, those of the model that were not given as the run to start from has them, and that run."""
    if chosen.start_from is None:
        return chosen, None
    run = load_model(Path(chosen.start_from), {})
    config = None if run.folder is None else run.folder / CONFIG_FILE
    recorded = read_toml(config)[1] if config is not None and config.exists() else {}
    known: dict[str, Any] = {name: recorded.get(name) for name in INHERITED if getattr(chosen, name) is None}
    if chosen.binarize not in (None, run.schema.binarize):
        raise UsageError(
            f"--start-from {chosen.start_from} reads its data with --binarize {run.schema.binarize or 'none'}, "
            f"not {chosen.binarize}. Leave --binarize out."
        )
    return replace(chosen, **known), run


def fitting_weights(model: nn.Module, run: Run, name: str) -> tuple[dict[str, Tensor], str]:
    """Return the weights of each part that is in both models in one shape, and what is taken, in words.

    A part (prior, posterior, likelihood, ...) is taken whole or not at all. Raises UsageError where none fits.
    """
    own, theirs = _by_part(model), _by_part(run.model)
    fit = [part for part, weights in own.items() if _shapes(weights) == _shapes(theirs.get(part, {}))]
    if not fit:
        raise UsageError(
            f"--start-from {name}: none of its parts fits this model; "
            f"{', '.join(own)} differ in shape. Leave out what makes them differ (--latent-dim, --hidden, --network)."
        )
    anew = [part for part in own if part not in fit]
    told = f"starts from the {', '.join(fit)} of another run" + (f"; anew: {', '.join(anew)}" if anew else "")
    return {f"{part}.{key}": value for part in fit for key, value in theirs[part].items()}, told


def _by_part(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in model.state_dict().items():
        part, _, key = name.partition(".")
        parts.setdefault(part, {})[key] = value
    return parts


def _shapes(weights: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in weights.items()}
