"""The figures of `evaluate`, each a mean per row with its standard error."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError, suggest
from ..likelihoods import Likelihood
from ..training import Rows
from .annealed import annealed_rows, checked, simulated
from .collapse import active_units, mutual_information
from .evidence import DRAWS, RowValues, evidence_rows
from .per_column import per_column

NO_DENSITY = "q(z | x) is a point mass, or its density is of another kind than p(z)'s, so there is no bound on log p(x)"
ESTIMATORS = ("iwae", "ais", "bdmc")
ANNEALED = 100  # rows, unless told otherwise


@dataclass(frozen=True)
class Estimate:
    """A mean over rows, in nats per row, with its standard error."""

    value: float
    se: float

    @classmethod
    def of(cls, rows: Tensor) -> Estimate:
        """Return mean and standard error of (N,) values."""
        return cls(rows.mean().item(), rows.std().item() / math.sqrt(len(rows)) if len(rows) > 1 else math.nan)

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.se:.3f}"

    def json(self) -> dict[str, float | None]:
        """Return {"value", "se"}; JSON has no NaN, so an error of one row is null."""
        return {"value": self.value, "se": None if math.isnan(self.se) else self.se}


@dataclass(frozen=True)
class Annealing:
    """How log p(x) was annealed: "ais" from below, "bdmc" from both sides, `gap` the mean of upper less lower."""

    kind: str
    temperatures: int
    chains: int
    acceptance: float
    upper: Estimate | None
    gap: Estimate | None

    def json(self, lower: Estimate) -> dict[str, Any]:
        """Return what `vaelab evaluate --json` says of log p(x)."""
        how = {"kind": self.kind, "temperatures": self.temperatures, "chains": self.chains}
        document = {**lower.json(), **how, "acceptance": self.acceptance}
        if self.upper is None or self.gap is None:
            return document
        return {**document, "lower": lower.json(), "upper": self.upper.json(), "gap": self.gap.json()}


@dataclass(frozen=True)
class Layer:
    """What one of several stochastic layers carries: its size, its KL in nats per row, and its active units."""

    name: str
    size: int
    kl: float | None
    active_units: int

    @classmethod
    def all_of(cls, sizes: Sequence[int], values: RowValues) -> list[Layer]:
        """Return the layers of a model, from x upwards; KL is None where it is not known by layer."""
        known = values.kl is not None and values.kl.shape[1] == sum(sizes)
        kls = values.kl.split(list(sizes), 1) if values.kl is not None and known else [None] * len(sizes)
        means = values.mean.split(list(sizes), 1)
        return [
            cls(f"z{number}", size, None if kl is None else kl.sum(1).mean().item(), active_units(mean))
            for number, (size, kl, mean) in enumerate(zip(sizes, kls, means), start=1)
        ]


@dataclass(frozen=True)
class Evaluation:
    """What a model says about a set of rows; elbo = reconstruction - kl, all in nats per row.

    `units` "user" are nats of the rows as the user has them, with the Jacobian of the scaling; "standardised" those of
    the model. Where q has no density, what needs log p(x) is None and `reason` says so.
    """

    rows: int
    split: str
    units: str
    samples: int
    reconstruction: Estimate
    elbo: Estimate | None
    kl: Estimate | None
    log_evidence: Estimate | None
    bits_per_dimension: float | None
    kl_per_dimension: list[float] | None
    kl_form: str | None
    active_units: int
    mutual_information: float | None
    marginal_kl: float | None
    layers: list[Layer] | None = None
    accuracy: Estimate | None = None
    columns: dict[str, Estimate] | None = None  # of a mixed table: nats of each column where it was observed
    reason: str | None = None
    annealing: Annealing | None = None

    def json(self) -> dict[str, Any]:
        """Return the document that `vaelab evaluate --json` prints."""

        def maybe(estimate: Estimate | None) -> dict[str, float | None] | None:
            return None if estimate is None else estimate.json()

        evidence: dict[str, Any] | None = maybe(self.log_evidence)
        if self.log_evidence is not None and evidence is not None:
            sampled = {**evidence, "kind": "iwae", "samples": self.samples}
            evidence = sampled if self.annealing is None else self.annealing.json(self.log_evidence)
        document: dict[str, Any] = {
            "rows": self.rows,
            "split": self.split,
            "units": self.units,
            "elbo": maybe(self.elbo),
            "reconstruction": self.reconstruction.json(),
            "kl": maybe(self.kl),
            "log_evidence": evidence,
            "bits_per_dimension": self.bits_per_dimension,
            "kl_per_dimension": self.kl_per_dimension,
            "kl_form": self.kl_form,
            "active_units": self.active_units,
            "mutual_information": self.mutual_information,
            "marginal_kl": self.marginal_kl,
        }
        if self.layers is not None:
            document["layers"] = [asdict(layer) for layer in self.layers]
        if self.columns is not None:
            document["columns"] = {name: nats.json() for name, nats in self.columns.items()}
        if self.accuracy is not None:
            document["accuracy"] = self.accuracy.json()
        return document if self.reason is None else {**document, "reason": self.reason}


def judged_rows(
    model: nn.Module,
    rows: Rows,
    *,
    samples: int = 5000,
    units: str = "user",
    seed: int = 0,
    tick: Callable[[float], None] = lambda share: None,
) -> RowValues:
    """Return the values of each row, (N,), in nats of the user's units, the Jacobian of the scaling included.

    With `units` "standardised" those of the model. Masses do not change with units.
    """
    values = evidence_rows(model, rows, samples=samples, seed=seed, tick=tick)
    shift = _shift(model, rows, units)
    return replace(
        values,
        elbo=values.elbo + shift,
        evidence=None if values.evidence is None else values.evidence + shift,
        reconstruction=values.reconstruction + shift,
    )


def _shift(model: nn.Module, rows: Rows, units: str) -> Tensor | float:
    """Return what log p(x) gains in the user's units."""
    likelihood: Likelihood = model.likelihood  # type: ignore[assignment]
    shifted = units == "user" and not likelihood.discrete
    return rows.log_det if shifted else 0.0


def evaluate_model(
    model: nn.Module,
    rows: Rows,
    *,
    split: str = "given",
    samples: int = 5000,
    units: str = "user",
    seed: int = 0,
    estimator: str = "iwae",
    most: int | None = None,
    temperatures: int = 200,
    chains: int = 8,
    start: str = "prior",
    tick: Callable[[float], None] = lambda share: None,
) -> Evaluation:
    """Return the figures for these rows; deterministic in `seed`, and independent of batching.

    log p(x) by importance weighting of `samples` draws ("iwae"), by annealing from p(z), or q(z | x), as `start` says,
    in `temperatures` steps and `chains` chains ("ais"), or so from both sides ("bdmc"), for as many rows that are
    simulated from the model in place of these. At most `most` rows, picked at random; by default all, or 100 where
    they are annealed.
    Raises UsageError for an unknown estimator, or a model that cannot be annealed.
    """
    rows, z = _chosen(model, rows, estimator, most, seed)
    split = split if z is None else "simulated"
    values = judged_rows(model, rows, samples=samples, units=units, seed=seed, tick=tick)
    likelihood: Likelihood = model.likelihood  # type: ignore[assignment]
    reconstruction = Estimate.of(values.reconstruction)
    common = {
        "rows": len(rows),
        "split": split,
        "units": units,
        "samples": samples,
        "reconstruction": reconstruction,
        "active_units": active_units(values.mean),
        "layers": Layer.all_of(model.sizes, values) if hasattr(model, "sizes") else None,  # type: ignore[arg-type]
    }
    if values.evidence is None or values.kl is None:
        empty = ("elbo", "kl", "log_evidence", "bits_per_dimension", "kl_per_dimension", "kl_form")
        none = dict.fromkeys((*empty, "mutual_information", "marginal_kl"))
        return Evaluation(**common, **none, reason=NO_DENSITY)  # type: ignore[arg-type]
    elbo, log_evidence, annealing = Estimate.of(values.elbo), Estimate.of(values.evidence), None
    if estimator != "iwae":
        how = {"temperatures": temperatures, "chains": chains, "start": start}
        annealed = annealed_rows(model, rows, **how, seed=seed, exact_z=z, tick=tick)  # type: ignore[arg-type]
        shift = _shift(model, rows, units)
        log_evidence = Estimate.of(annealed.lower + shift)
        above: tuple[Estimate | None, Estimate | None] = (None, None)
        if annealed.upper is not None:
            above = (Estimate.of(annealed.upper + shift), Estimate.of(annealed.upper - annealed.lower))
        annealing = Annealing(estimator, temperatures, chains, annealed.acceptance, *above)
    information = mutual_information(model, rows, seed=seed)
    entries = rows.schema.dims if rows.observed is None else rows.observed.sum().item() / len(rows)
    return Evaluation(
        **common,  # type: ignore[arg-type]
        elbo=elbo,
        kl=Estimate.of(values.kl.sum(1)),
        log_evidence=log_evidence,
        annealing=annealing,
        bits_per_dimension=-elbo.value / (entries * math.log(2)) if likelihood.discrete else None,
        kl_per_dimension=values.kl.mean(0).tolist(),
        kl_form="closed" if values.closed_form else "sampled",
        mutual_information=information and information[0],
        marginal_kl=information and information[1],
        columns=_by_column(model, rows, units, seed) if rows.schema.kinds else None,
    )


def _chosen(model: nn.Module, rows: Rows, estimator: str, most: int | None, seed: int) -> tuple[Rows, Tensor | None]:
    """Return the rows to judge, and the z behind each where they are simulated."""
    if estimator not in ESTIMATORS:
        raise UsageError(f"estimator {estimator!r} is unknown.{suggest(estimator, ESTIMATORS)}")
    if most is not None and most < 1:
        raise UsageError(f"evaluate: at least 1 row is needed, got {most}.")
    if estimator != "iwae":
        checked(model)
    most = min(len(rows), most or (len(rows) if estimator == "iwae" else ANNEALED))
    if estimator == "bdmc":
        return simulated(model, rows, most, seed=seed)
    return rows.few(most, seed), None


def _by_column(model: nn.Module, rows: Rows, units: str, seed: int) -> dict[str, Estimate]:
    nats = per_column(model, rows, samples=DRAWS, seed=seed, units=units).columns.double().cpu()
    there = torch.ones_like(nats, dtype=torch.bool) if rows.observed is None else rows.observed.cpu()
    names = rows.schema.columns or ()
    return {name: Estimate.of(nats[there[:, i], i]) for i, name in enumerate(names) if bool(there[:, i].any())}
