"""A run: a model, the schema of its data, and what happened in training. What `train`, `fit` and `load` return."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import files, use
from .data import Dataset, Schema, as_real, open_source
from .durable import write_durably
from .errors import ModelFileError, UsageError
from .evaluation import Diagnosis, Evaluation, diagnose, evaluate_model
from .folder import MODEL_FILE, read_history, rows_of
from .options import TrainOptions, to_toml
from .parts import parse, registry
from .training import History, Rows


@dataclass
class Run:
    """A trained model with its data's schema; the verbs are methods, and functions of the same names.

    `splits` holds the rows that training knew, by the name of their part: "test", "validation", "train".
    """

    model: nn.Module
    schema: Schema
    meta: dict[str, Any] = field(default_factory=dict)
    history: History | None = None
    splits: dict[str, Dataset] = field(default_factory=dict)
    folder: Path | None = None
    reopen: Callable[[], dict[str, Dataset]] | None = None  # how a run folder finds its rows again

    def save(self, path: str | Path) -> Path:
        """Write the model file: weights, constructor arguments, schema; no times, paths or hosts."""
        path = Path(path)
        files.save(path, {"model": self.model, "schema": self.schema}, self.meta, registry=registry())
        return path

    def write(self, folder: Path, source: str, options: TrainOptions) -> None:
        """Write the run's folder; the model last, so that a folder with a model is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(options.validation, str):
            options = replace(options, validation=_anywhere(options.validation))
        records = [] if self.history is None else self.history.records
        finite = [{k: v if v is None or math.isfinite(v) else None for k, v in record.items()} for record in records]
        write_durably(folder / "metrics.jsonl", "".join(json.dumps(r) + "\n" for r in finite).encode())
        write_durably(folder / "config.toml", to_toml(_anywhere(source), options))
        self.save(folder / MODEL_FILE)
        self.folder = folder

    def rows(self, source: Any = None) -> tuple[Rows, str]:
        """Return the rows of a source under this run's schema, or its test, else validation, else training part."""
        if isinstance(source, Rows):
            return source, "given"
        data, split = self.held_out() if source is None else (self.dataset(source), "given")
        return Rows(data, device=self.device), split

    def parts(self) -> dict[str, Dataset]:
        """Return the rows that training knew, by the name of their part; a run folder finds them again when asked."""
        if not self.splits and self.reopen is not None:
            self.splits = self.reopen()
        return self.splits

    def held_out(self) -> tuple[Dataset, str]:
        """Return the part that this run is judged on, and its name: its test, else validation, else training rows."""
        for split in ("test", "validation", "train"):
            if split in self.parts():
                return self.splits[split], split
        raise UsageError("this run does not know its data any more. Give a SOURCE.")

    def dataset(self, source: Any) -> Dataset:
        """Return a source read under this run's schema, its values checked."""
        data = source if isinstance(source, Dataset) else open_source(source, schema=self.schema)
        return data if data.schema is self.schema else _under(data, self.schema)

    def doctor(self, source: Any = None, *, quick: bool = False) -> Diagnosis:
        """Return what ails this run: findings, each with the figure that shows it, plain words and a remedy.

        `source` takes the place of the rows that were held out. `quick` looks only at what costs next to nothing: what
        `train` says at its end.
        """
        data, split = self.held_out() if source is None else (self.dataset(source), "given")
        train = self.parts().get("train")
        rows = None if split == "train" else Rows(data, device=self.device)
        own = None if train is None else Rows(train, device=self.device)
        return diagnose(self.model, own, rows, self.history, _setup(self.meta), split=split, quick=quick)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def evaluate(
        self, source: Any = None, *, samples: int = 5000, units: str = "user", seed: int = 0, **how: Any
    ) -> Evaluation:
        """Return bound, evidence, their split and what the latents carry, in nats per row with standard errors."""
        if units not in ("user", "standardised"):
            raise UsageError(f"units is 'user' or 'standardised', got {units!r}.")
        rows, split = self.rows(source)
        return evaluate_model(self.model, rows, split=split, samples=samples, units=units, seed=seed, **how)

    def generate(self, n: int, *, means: bool = False, temperature: float = 1.0, seed: int = 0) -> Tensor:
        """Return n draws of x, (n, *shape), in the user's units; E[x | z] with `means`."""
        return use.generate(self.model, self.schema, n, means=means, temperature=temperature, seed=seed)

    def reconstruct(self, source: Any = None, *, seed: int = 0) -> Tensor:
        """Return E_q[E[x | z]] for the rows of a source, (N, *shape), in the user's units."""
        return use.reconstruct(self.model, self.rows(source)[0], seed=seed)


def _under(data: Dataset, schema: Schema) -> Dataset:
    """Return rows under the schema of a run, where they were read under their own."""
    if schema.values == "real" and data.schema.values != "real":
        data = as_real(data)
    if data.schema.shape != schema.shape:
        raise UsageError(f"these rows have shape {data.schema.shape}, the model was trained on {schema.shape}.")
    return replace(data, schema=schema, test=None)


def _anywhere(name: str) -> str:
    """Return a path as an absolute one, so that it is found wherever a later command is run; other names stay."""
    return str(Path(name).absolute()) if Path(name.partition(".npz:")[0]).exists() else name


def _setup(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a diagnosis reads of a training: its rate and decay, the weight of the KL and its warm-up."""
    known = {key: meta.get("settings", {}).get(key) for key in ("lr", "lr_warmup", "decay")}
    objective = meta.get("parts", {}).get("objective")
    if objective is not None:
        spec = parse("objective", objective)
        known |= {key: spec.arguments.get(key) for key in ("beta", "warmup")}
    return {key: value for key, value in known.items() if value is not None}


def load(path: str | Path, parts: Mapping[str, Any] | None = None) -> Run:
    """Return the run in a folder or model file. Opening it runs no code of the file's.

    `parts` hands back modules of your own, by class name or by path ("model.likelihood.network"). A run folder also
    knows its data again, if they are still where they were.
    """
    path = Path(path)
    file = path / MODEL_FILE if path.is_dir() else path
    modules, meta = files.load(file, registry=registry(), parts=dict(parts or {}))
    model, schema = modules.get("model"), modules.get("schema")
    if model is None or not isinstance(schema, Schema):
        raise ModelFileError(f"{file}: holds no model with a schema (found: {', '.join(modules) or 'nothing'}).")
    folder = path if path.is_dir() else None
    if folder is None:
        return Run(model.eval(), schema, meta)
    return Run(
        model.eval(), schema, meta, read_history(folder, meta), folder=folder, reopen=rows_of(folder, schema, meta)
    )


def save(run: Run, path: str | Path) -> Path:
    """Write the model file of a run."""
    return run.save(path)


def evaluate(run: Run | str | Path, source: Any = None, **how: Any) -> Evaluation:
    """Judge a run (or the folder or file of one): see `Run.evaluate`."""
    return opened(run).evaluate(source, **how)


def doctor(run: Run | str | Path, source: Any = None, **how: Any) -> Diagnosis:
    """Say what ails a run (or the folder or file of one): see `Run.doctor`."""
    return opened(run).doctor(source, **how)


def generate(run: Run | str | Path, n: int, **how: Any) -> Tensor:
    """Draw n rows from a run's model: see `Run.generate`."""
    return opened(run).generate(n, **how)


def reconstruct(run: Run | str | Path, source: Any = None, **how: Any) -> Tensor:
    """Return what a run's model makes of rows: see `Run.reconstruct`."""
    return opened(run).reconstruct(source, **how)


def opened(run: Run | str | Path) -> Run:
    """Return the run itself, or the one in this folder or file."""
    return run if isinstance(run, Run) else load(run)
