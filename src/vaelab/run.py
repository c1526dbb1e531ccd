"""A run: a model, the schema of its data, and what happened in training. What `train`, `fit` and `load` return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import evaluation, files, use
from .conditional import Conditional
from .data import Dataset, Schema, as_rows_of, open_source
from .data.conditions import describe, read_given
from .data.given import row_of
from .data.reading import LABEL
from .data.write import as_table
from .durable import write_durably
from .errors import ModelFileError, UsageError, VaelabError
from .evaluation import Diagnosis, Evaluation, PerColumn, Privacy
from .folder import MODEL_FILE, read_history, rows_of, setup_of, write_config, write_history
from .models import Model, SemiSupervised
from .options import TrainOptions
from .part import exact
from .parts import prior_for, registry
from .report import fragment, page
from .training import History, Rows
from .use import Codes, Imputation, Measures


@dataclass
class Run:
    """A trained model with its data's schema; the verbs are methods, and functions of the same names.

    `splits` holds the rows that training knew, by the name of their part: "test", "validation", "train".

    >>> run = vaelab.train("digits", latent_dim=2, hidden="32", epochs=2, progress="off")
    >>> sorted(run.splits), run.meta["recipe"]
    (['train', 'validation'], 'vae')
    """

    model: nn.Module
    schema: Schema
    meta: dict[str, Any] = field(default_factory=dict)
    history: History | None = None
    splits: dict[str, Dataset] = field(default_factory=dict)
    folder: Path | None = None
    reopen: Callable[[], dict[str, Dataset]] | None = None  # how a run folder finds its rows again

    def save(self, path: str | Path) -> Path:
        """Write the model file: weights, constructor arguments, schema; no times, paths or hosts.

        >>> run.save("digits.safetensors").name
        'digits.safetensors'
        """
        path = Path(path)
        files.save(path, {"model": self.model, "schema": self.schema}, self.meta, registry=registry())
        return path

    def write(self, folder: Path, source: str, options: TrainOptions) -> None:
        """Write the run's folder; the model last, so that a folder with a model is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        write_history(folder, self.history or History())
        write_config(folder, source, options)
        self.save(folder / MODEL_FILE)
        self.folder = folder

    def data(self, source: Any = None) -> tuple[Dataset, str]:
        """Return rows and what they are: a source's ("given"), else this run's "test", "validation" or "train" rows.

        Raises UsageError where the run does not know its rows any more, DataError where they do not fit the model.

        >>> rows, split = run.data()
        >>> len(rows), split
        (180, 'validation')
        """
        if source is not None:
            data = source if isinstance(source, Dataset) else open_source(source, schema=self.schema)
            data = data if data.schema is self.schema else as_rows_of(self.schema, data)
            if self.schema.conditions and data.condition is None:
                raise UsageError(
                    f"these rows have no condition: the model is given {describe(self.schema.conditions)}."
                )
            return data, "given"
        known = self._known()
        for split in ("test", "validation", "train"):
            if split in known:
                return known[split], split
        raise UsageError("this run does not know its data any more. Give a SOURCE.")

    def _known(self) -> dict[str, Dataset]:
        if not self.splits and self.reopen is not None:
            self.splits = self.reopen()
        return self.splits

    def _trained(self) -> Dataset | None:
        """Return the rows of training; None where they are not there any more."""
        with suppress(VaelabError):
            return self._known().get("train")
        return None

    def _held_out(self, verb: str, source: Any) -> tuple[Dataset, str]:
        """Return `data`, which must not be the rows of training."""
        held, split = self.data(source)
        if split == "train":
            raise UsageError(f"{verb}: no rows were held out of training. Give a SOURCE of other rows.")
        return held, split

    def rows(self, source: Any = None) -> tuple[Rows, str]:
        """Return the rows of `data` as the model takes them, on its device, and their split.

        >>> run.rows()[0].data.shape
        torch.Size([180, 1, 8, 8])
        """
        data, split = self.data(source)
        return Rows(data, device=self.device), split

    def doctor(self, source: Any = None, *, quick: bool = False) -> Diagnosis:
        """Return what ails this run: findings, each with the figure that shows it, plain words and a remedy.

        `source` takes the place of the rows that were held out. `quick` looks only at what costs next to nothing: what
        `train` says at its end.

        >>> all("--" in finding.remedy for finding in run.doctor(quick=True).findings)
        True
        """
        data, split = self.data(source)
        rows = None if split == "train" else Rows(data, device=self.device)
        own = None if (trained := self._trained()) is None else Rows(trained, device=self.device)
        return evaluation.diagnose(self.model, own, rows, self.history, setup_of(self.meta), split=split, quick=quick)

    @property
    def latent_dim(self) -> int:
        """The number of latent dimensions."""
        return int(self.model.latent_dim)  # type: ignore[arg-type]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def evaluate(
        self, source: Any = None, *, samples: int = 5000, units: str = "user", seed: int = 0, **how: Any
    ) -> Evaluation:
        """Return bound, evidence, their split and what the latents carry, in nats per row with standard errors.

        >>> figures = run.evaluate(samples=10)
        >>> figures.elbo.value <= figures.log_evidence.value  # nats per row
        True
        """
        if units not in ("user", "standardised"):
            raise UsageError(f"units is 'user' or 'standardised', got {units!r}.")
        data, split = self.data(source)
        how.setdefault("split", split)
        judged = evaluation.evaluate_model(
            self.model, Rows(data, device=self.device), samples=samples, units=units, seed=seed, **how
        )
        if not isinstance(self.model, SemiSupervised) or data.labels is None:
            return judged
        return replace(judged, accuracy=use.accuracy(self.model, data, seed=seed))

    def known_rows(self, data: Dataset) -> int:
        """Return how many of these rows are equal to rows that this run was trained on; 0 where those are gone.

        >>> run.known_rows(run.splits["train"].take(range(7)))
        7
        """
        own = self._trained()
        if own is None:
            return 0
        trained, these = ([hash(row.tobytes()) for row in d.x.double().numpy()] for d in (own, data))
        known = set(trained)
        return sum(row in known for row in these)

    def encode(self, source: Any = None, *, seed: int = 0) -> Codes:
        """Return E[z] and the deviations of z under q(z | x) for the rows of a source, (N, D) each.

        >>> run.encode().mean.shape
        torch.Size([180, 2])
        """
        return use.encode(self.model, self.data(source)[0], seed=seed)

    def given(self, given: str | Mapping[str, Any] | None) -> Tensor | None:
        """Return the condition (C,) that is given to the model, "kind=3" or {"kind": 3}; None for one without.

        >>> run.given(None) is None
        True
        """
        conditions = self.schema.conditions
        if isinstance(self.model, SemiSupervised):
            conditions = ((LABEL, self.model.classes),)
        elif given is None and conditions:
            raise UsageError(f"this model must be given {describe(self.schema.conditions)}. Add --given NAME=VALUE.")
        return None if given is None else read_given(conditions, given)

    def resamples(self, given: Any) -> bool:
        """Whether what is given are columns that the model was not trained to be given: they are resampled.

        >>> run.resamples(None)
        False
        """
        conditional = bool(self.schema.conditions) or isinstance(self.model, SemiSupervised)
        return given is not None and not conditional and self.schema.columns is not None

    def decode(self, z: Any, *, given: str | Mapping[str, Any] | None = None) -> Tensor:
        """Return E[x | z] for places z (N, D), (N, *shape), in the user's units; `given` as for `given`.

        >>> run.decode([[0.0, 0.0], [1.0, -1.0]]).shape
        torch.Size([2, 8, 8])
        """
        return use.decode(self.model, self.schema, torch.as_tensor(z, dtype=torch.float64), self.given(given))

    def interpolate(self, places: Any, *, steps: int = 10, path: str = "straight", given: Any = None) -> Tensor:
        """Return E[x | z] on the path through places z (P, D), each included: ((P - 1) * steps + 1, *shape).

        >>> run.interpolate(run.encode().mean[:2], steps=8, path="spherical").shape
        torch.Size([9, 8, 8])
        """
        way = use.path_through(torch.as_tensor(places, dtype=torch.float64), steps, path)
        return self.decode(way, given=given)

    def reconstruct(self, source: Any = None, *, seed: int = 0) -> Tensor:
        """Return E_q[E[x | z]] for the rows of a source, (N, *shape), in the user's units.

        >>> run.reconstruct().shape
        torch.Size([180, 8, 8])
        """
        return use.reconstruct(self.model, self.data(source)[0], seed=seed)

    def score_columns(
        self, source: Any = None, *, samples: int = 1000, units: str = "user", seed: int = 0, **how: Any
    ) -> PerColumn:
        """Return `score` split over the columns: what each adds to log p(x), and the divergence of q from p(z).

        >>> split = run.score_columns(samples=10)
        >>> torch.allclose(split.total, run.score(samples=10))
        True
        """
        rows = Rows(self.data(source)[0], dtype=torch.float64)
        return evaluation.per_column(exact(self.model), rows, samples=samples, seed=seed, units=units, **how)

    def score(
        self, source: Any = None, *, samples: int = 1000, units: str = "user", seed: int = 0, **how: Any
    ) -> Tensor:
        """Return a lower bound on log p(x) for each row of a source, (N,) nats; no row depends on another.

        >>> scores = run.score(samples=10)
        >>> int(scores.argmin()) == int(scores.sort().indices[0])  # the least probable row
        True
        """
        return use.score(self.model, self.data(source)[0], samples=samples, units=units, seed=seed, **how)

    def impute(
        self, source: Any = None, *, draws: int = 0, samples: int = 1000, level: float = 0.9, seed: int = 0, **how: Any
    ) -> Imputation:
        """Return the rows of a source with their gaps filled from p(x_missing | x_observed): best values and `draws`.

        >>> run.impute(samples=10).missing.any().item()  # nothing is missing here
        False
        """
        rows = self.data(source)[0]
        return use.impute(self.model, rows, draws=draws, samples=samples, level=level, seed=seed, **how)

    def frame(self, rows: Tensor, *, means: bool = False, like: Any = None) -> Any:
        """Return rows (N, *shape) in the user's units as a data frame with the user's columns: words, dates, integers.

        A polars frame, or one of the kind of `like`: a pandas or pyarrow table.

        >>> run.frame(run.generate(3)).shape
        (3, 64)
        """
        return as_table(rows, self.schema, means=means, like=like)

    def generate(
        self, n: int, *, means: bool = False, temperature: float = 1.0, seed: int = 0, given: Any = None
    ) -> Tensor:
        """Return n draws of x, (n, *shape), in the user's units; E[x | z] with `means`.

        `given` is the condition of a model that was trained with one (see `given`); of any other the values of columns,
        {"income": ">50K"}: rows are then drawn from p(x | given) by importance resampling, see `use.generate_given`.

        >>> draws, means = run.generate(4), run.generate(4, means=True)
        >>> bool((draws == draws.round()).all()), bool((means == means.round()).all())
        (True, False)
        """
        if self.resamples(given):
            if means or temperature != 1.0:
                raise UsageError("columns are given after training by resampling draws: no means, no temperature.")
            return use.generate_given(self.model, self.schema, n, row_of(self.schema, given), seed=seed)[0]
        return use.generate(
            self.model, self.schema, n, means=means, temperature=temperature, seed=seed, condition=self.given(given)
        )

    def privacy(self, n: int = 5000, *, source: Any = None, seed: int = 0) -> Privacy | None:
        """Return how near n drawn rows lie to training rows, against rows held out (or a source's): copies, distances.

        None where the training rows are not known any more.

        >>> run.privacy(100).copies
        0
        """
        held, trained = self._held_out("privacy", source)[0], self._trained()
        return None if trained is None else evaluation.privacy(self.generate(n, seed=seed), trained, held, seed=seed)

    def measure(self, source: Any = None, *, samples: int = 2000, seed: int = 0) -> Measures:
        """Return how far generated rows are from held-out rows (or a source's), beside how far training rows are.

        >>> found = run.measure(samples=100)
        >>> found.generated.two_sample.value > found.reference.two_sample.value  # easier to tell from real rows
        True
        """
        held, split = self._held_out("measure", source)
        return use.measure(self.model, self._trained(), held, samples=samples, split=split, seed=seed)

    def refit(self, source: Any = None, *, prior: str | Conditional = "mixture", seed: int = 0, **how: Any) -> Run:
        """Return a run whose prior, "name:argument=value,...", is fitted to the codes of the training rows or a source.

        Encoder and decoder are those of this run, which stays as it is. `steps` of gradient ascent: `vaelab.use.refit`.

        >>> again = run.refit(prior="mixture:components=5")
        >>> again.generate(4).shape, again.meta["parts"]["prior"]
        (torch.Size([4, 8, 8]), 'mixture:components=5')
        """
        data = self.data(source)[0] if source is not None else self._known().get("train")
        if data is None:
            raise UsageError("this run does not know its training rows any more. Give a SOURCE.")
        made = prior_for(self.model, self.schema.model_shape, prior, seed) if isinstance(prior, str) else prior
        model = use.refit(self.model, data, made, seed=seed, **how)
        parts = {**self.meta.get("parts", {}), "prior": prior if isinstance(prior, str) else type(prior).__name__}
        fitted = {"rows": len(data), "digest": data.digest, "seed": seed, **how}
        meta = {**self.meta, "parts": parts, "best": {}, "refit": fitted}
        return Run(model, self.schema, meta, splits=dict(self.splits), reopen=self.reopen)

    def report(self, path: str | Path, source: Any = None) -> Path:
        """Write what this run is, how good it is and what it does as one HTML page, and return its path.

        Judged on at most 1,000 rows of `source`, else of the test, validation or training part.

        >>> run.report("digits.html").name
        'digits.html'
        """
        path = Path(path)
        write_durably(path, page(self, source).encode())
        return path

    def _repr_html_(self) -> str:
        """Show the report in a notebook."""
        return fragment(self)


def load_model(path: Path, parts: Mapping[str, Any]) -> Run:
    """Return the run in a model file, or in the folder of one that has come to a model; `parts` as for `load`."""
    file = path / MODEL_FILE if path.is_dir() else path
    modules, meta = files.load(file, registry=registry(), parts=dict(parts))
    model, schema = modules.get("model"), modules.get("schema")
    if model is None or not isinstance(schema, Schema):
        raise ModelFileError(f"{file}: holds no model with a schema (found: {', '.join(modules) or 'nothing'}).")
    if not isinstance(model, Model):
        raise ModelFileError(f"{file}: its model is a {type(model).__name__}, which has no terms() and generate().")
    shape = getattr(getattr(model, "likelihood", None), "shape", schema.model_shape)
    if shape != schema.model_shape:
        shapes = (str(shape)[:60], str(schema.model_shape)[:60])
        raise ModelFileError(f"{file}: its model is of rows {shapes[0]}, its schema of rows {shapes[1]}.")
    folder = path if path.is_dir() else None
    if folder is None:
        return Run(model.eval(), schema, meta)
    return Run(
        model.eval(), schema, meta, read_history(folder, meta), folder=folder, reopen=rows_of(folder, schema, meta)
    )
