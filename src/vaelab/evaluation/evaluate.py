"""The figures of `evaluate`, each a mean per row with its standard error."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..likelihoods import Likelihood
from ..training import Rows
from .collapse import active_units, mutual_information
from .evidence import DRAWS, RowValues, evidence_rows
from .per_column import per_column

NO_DENSITY = "q(z | x) is a point mass, or its density is of another kind than p(z)'s, so there is no bound on log p(x)"


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

    def json(self) -> dict[str, Any]:
        """Return the document that `vaelab evaluate --json` prints."""

        def maybe(estimate: Estimate | None) -> dict[str, float | None] | None:
            return None if estimate is None else estimate.json()

        evidence = maybe(self.log_evidence)
        document: dict[str, Any] = {
            "rows": self.rows,
            "split": self.split,
            "units": self.units,
            "elbo": maybe(self.elbo),
            "reconstruction": self.reconstruction.json(),
            "kl": maybe(self.kl),
            "log_evidence": evidence and {**evidence, "kind": "iwae", "samples": self.samples},
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
    likelihood: Likelihood = model.likelihood  # type: ignore[assignment]
    shifted = units == "user" and not likelihood.discrete
    shift = rows.log_det if shifted else 0.0
    return replace(
        values,
        elbo=values.elbo + shift,
        evidence=None if values.evidence is None else values.evidence + shift,
        reconstruction=values.reconstruction + shift,
    )


def evaluate_model(
    model: nn.Module,
    rows: Rows,
    *,
    split: str = "given",
    samples: int = 5000,
    units: str = "user",
    seed: int = 0,
    tick: Callable[[float], None] = lambda share: None,
) -> Evaluation:
    """Return the figures for these rows; deterministic in `seed`, and independent of batching."""
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
    elbo = Estimate.of(values.elbo)
    information = mutual_information(model, rows, seed=seed)
    entries = rows.schema.dims if rows.observed is None else rows.observed.sum().item() / len(rows)
    return Evaluation(
        **common,  # type: ignore[arg-type]
        elbo=elbo,
        kl=Estimate.of(values.kl.sum(1)),
        log_evidence=Estimate.of(values.evidence),
        bits_per_dimension=-elbo.value / (entries * math.log(2)) if likelihood.discrete else None,
        kl_per_dimension=values.kl.mean(0).tolist(),
        kl_form="closed" if values.closed_form else "sampled",
        mutual_information=information and information[0],
        marginal_kl=information and information[1],
        columns=_by_column(model, rows, units, seed) if rows.schema.kinds else None,
    )


def _by_column(model: nn.Module, rows: Rows, units: str, seed: int) -> dict[str, Estimate]:
    nats = per_column(model, rows, samples=DRAWS, seed=seed, units=units).columns.double().cpu()
    there = torch.ones_like(nats, dtype=torch.bool) if rows.observed is None else rows.observed.cpu()
    names = rows.schema.columns or ()
    return {name: Estimate.of(nats[there[:, i], i]) for i, name in enumerate(names) if bool(there[:, i].any())}
