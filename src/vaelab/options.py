"""Every option of `train`, in one place: the command line, a TOML file and `vaelab.train` read this class."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UsageError, suggest


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What `train` can be told; each default is stated beside its option."""

    recipe: str = "vae"
    """A published model by name: `vaelab recipes` lists them."""
    latent_dim: int | str | None = None
    """Latent dimensions (default: 20, fewer for rows of fewer than 80 entries); of each layer from x up, "20,10"."""
    hidden: str | None = None
    """Widths of the hidden layers, "500,500" (default: 500; "" for none)."""
    network: str | None = None
    """Encoder and decoder: mlp, conv:width=16,norm=group, resnet:width=32,blocks=1 (the last two for images;
    default: mlp)."""
    activation: str | None = None
    """relu, silu, gelu, elu or tanh (default: relu; silu in convolutions)."""
    prior: str | None = None
    """p(z): gaussian, mixture:components=10, vamp, flow:kind=maf, uniform-sphere (default: by the recipe)."""
    posterior: str | None = None
    """q(z | x): gaussian, full-gaussian, flow:kind=iaf, von-mises-fisher, concrete, nearest, point."""
    likelihood: str | None = None
    """p(x | z): bernoulli, gaussian:scale=shared, laplace, student-t, categorical, discretized-logistic,
    logistic-mixture:components=10, continuous-bernoulli, poisson, negative-binomial,
    zero-inflated-poisson, zero-inflated-negative-binomial, autoregressive-bernoulli:radius=3,width=8
    (default: by the data)."""
    objective: str | None = None
    """What is maximised: elbo:beta=4, iwae:samples=50, total-correlation, mmd ... (default: by the recipe)."""
    refine: str | None = None
    """What betters q(z | x) row by row: hamiltonian:leapfrog=3, gradient-steps:steps=5 (default: by the recipe)."""
    missingness: str | None = None
    """p(s | x) of which entries go missing: self-masking:direction=high (default: it does not depend on x)."""
    beta: float | None = None
    """Weight of the KL in the objective; what is reported is the bound at beta = 1."""
    free_bits: float | None = None
    """Nats per latent dimension below which its KL is not pushed."""
    warmup: float | None = None
    """Epochs over which the weight of the KL rises from 0."""
    start_from: str | None = None
    """A run to start from: built as it is, reading data as it does, with its weights where they fit."""
    epochs: int | None = None
    """Passes over the training rows (default: about 20,000 steps, or --minutes)."""
    minutes: float | None = None
    """Train by the clock instead."""
    batch_size: int | None = None
    """Rows in a step (default: 100)."""
    lr: float | None = None
    """Peak learning rate of Adam (default: 0.003), after a short rise and before a cosine decay to 0. Judged and
    kept is the mean of the weights, later ones heavier."""
    decay: str | None = None
    """cosine, staged (eight stages, each three times as long as the one before, down to a tenth) or none."""
    clip: float | None = None
    """Largest norm of the gradient (default: none)."""
    patience: int | None = None
    """Reports without a better validation bound before training stops (default: 20)."""
    validation: float | str | None = None
    """Rows held out: a fraction below 1, a count, or a path; 0 trains on all, to the end (default: 0.1; 0 by recipes
    that fill gaps)."""
    seed: int = 0
    """Seed of the initial weights, the split, the order and the noise."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    threads: int | None = None
    """Threads of the processor (default: all cores); the same count gives the same bits."""
    compile: str = "auto"
    """Make one graph of a training step: auto (where a long run earns it back), on or off; the last bits may differ."""
    precision: str = "full"
    """What networks multiply in while they train: full (32 bits) or bfloat16 (16: faster on processors and graphics
    cards that know it; densities, sums and weights stay full, and so does everything after training)."""
    binarize: str | None = None
    """How grey images become 0/1: stochastic, fixed (MNIST only), threshold, none."""
    columns: str | None = None
    """Columns of a table to keep: names or 1-based ranges, "1-11" or "age,income"."""
    drop: str | None = None
    """Columns of a table to leave out."""
    column: tuple[str, ...] = ()
    """The kind of a column, "age:count", once for each: real, positive, count, ordinal, category, boolean, date,
    identifier, text (the last two are left out), auto; "*:auto" of all (default: auto where there are words)."""
    columns_file: str | None = None
    """A TOML file of columns: of each a table with kind, and levels = [...] in their order, or low and high."""
    unseen: str | None = None
    """What a category in new data is that was not seen in training: refuse (default) or missing."""
    header: str = "auto"
    """Whether the first line of a table names its columns: auto, yes or no."""
    labels: str | None = None
    """The column, or file, that labels the rows; it is not modelled."""
    ids: str | None = None
    """The column that names the rows; it is not modelled, and comes back as it stands."""
    labelled: int | None = None
    """Training rows whose label is used, by recipes that learn classes (default: all that have one)."""
    condition: str | None = None
    """What the model is given beside x: label, or columns of a table, "kind,age"; they are not modelled."""
    augment: str | None = None
    """Move training images at each use: flip (left-right), crop=2 (shift by up to 2 pixels), "flip,crop=2"."""
    missing: str | None = None
    """Words that mean a missing value, "unknown,n/a", besides the empty cell, NA, NaN, nan, ?, null and None."""
    inf_as_missing: bool = False
    """Take infinities for missing values; else they are refused."""
    sep: str | None = None
    """The separator of a table (default: found)."""
    decimal: str = "."
    """The sign before decimals in a text table: . or ,"""
    encoding: str = "utf-8"
    """The encoding of a table."""
    size: str | None = None
    """Bring every image to WxH."""
    fit: str = "stretch"
    """How an image of another shape gets --size: stretch, crop (keep the middle) or pad (with black)."""
    skip_bad: bool = False
    """Leave out images that cannot be read; else they are refused."""
    cache: str = "auto"
    """Where rows of more than 1 GB are kept on the disk: auto (the user's cache folder), off, or a
    folder, which then takes rows of any size."""

    def __post_init__(self) -> None:
        given = (self.column,) if isinstance(self.column, str) else tuple(self.column)
        object.__setattr__(self, "column", given)  # a file gives a list

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all options."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def checked(cls, **options: Any) -> TrainOptions:
        """Return the options; UsageError with the nearest name for one that does not exist."""
        for name in options:
            if name not in cls.names():
                raise UsageError(f"unknown option {name!r}.{suggest(name, cls.names())}")
        for name in ("columns", "condition", "drop", "hidden", "latent_dim", "missing"):
            if isinstance(options.get(name), (list, tuple)):
                options[name] = ",".join(str(item) for item in options[name])
        if isinstance(options.get("hidden"), int):
            options["hidden"] = str(options["hidden"])
        return cls(**options)

    def changed(self) -> dict[str, Any]:
        """Return the options that differ from their defaults."""
        default = TrainOptions()
        return {name: getattr(self, name) for name in self.names() if getattr(self, name) != getattr(default, name)}


def to_toml(source: str, options: TrainOptions) -> bytes:
    """Return the file that repeats a run: `vaelab train --config FILE`."""
    lines = [f"source = {json.dumps(source)}"]
    for name in options.names():
        value = getattr(options, name)
        if value is not None:
            lines.append(f"{name} = {json.dumps(value)}")
    return ("\n".join(lines) + "\n").encode()


def read_toml(path: Path) -> tuple[str | None, dict[str, Any]]:
    """Return (source or None, options) of a configuration file; unknown keys are refused by name."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"no such configuration: {path}. Check --config.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}.") from None
    source = content.pop("source", None)
    for name in content:
        if name not in TrainOptions.names():
            raise UsageError(f"{path}: unknown option {name!r}.{suggest(name, TrainOptions.names())}")
    return source, content
