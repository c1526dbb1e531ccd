"""What the explorer knows of a run: where its rows lie, what lies at a place, and which latents carry something."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Independent, Normal

from ..data import Dataset
from ..errors import UsageError, VaelabError
from ..evaluation import evaluate_model, evidence_rows
from ..evaluation.collapse import ACTIVE
from ..models import VAE
from ..models.vae import Decodes, centre
from ..noise import Noise, stream
from ..part import inference
from ..pictures import inputs_as_seen, limits
from ..report.places import needs_condition
from ..report.tables import names
from ..run import Run
from ..training import History, Rows
from ..use import path_through
from ..use.encode import given as at_rows

POINTS = 20_000  # rows on the map; more are drawn at random
NUMBERS = 2**22  # codes on the map, rows times dimensions
JUDGED = 1000  # rows that the figures are of
WORK = 2**24  # entries of x that the colour "error" may cost
PRIOR_DRAWS = 4096
MOST_LABELS = 100
MOST_RECORDS = 500  # of the training curves

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """The rows on the map: codes (N, D) = E_q[z], error (N,) = -E_q[log p(x | z)] in nats, labels (N,) by number."""

    data: Dataset
    split: str
    total: int
    codes: Floats
    error: Floats
    labels: Floats
    label_names: list[str] | None
    kl: list[float] | None
    figures: dict[str, Any]


class Explored:
    """A run, ready to be looked at: its rows encoded, its decoder at hand.

    Raises UsageError for a model without a latent space of numbers, or one that needs a condition that is not given.
    """

    def __init__(
        self, run: Run, source: Any = None, *, given: str | None = None, runs: Sequence[dict[str, Any]] = ()
    ) -> None:
        if not isinstance(run.model, Decodes):
            raise UsageError(f"explore: a {type(run.model).__name__} has no latent space to decode from.")
        self.run, self.model, self.schema = run, run.model, run.schema
        self.condition = run.given(given)
        self.runs = list(runs)  # beside which this one is drawn: name, rate, distortion
        self.seen, self.reason = self._look(source)
        self.image = self.schema.layout == "image"
        self.scale = self._scale()

    def _look(self, source: Any) -> tuple[Seen | None, str | None]:
        try:
            data, split = self.run.data(source)
        except VaelabError as error:
            if source is not None:
                raise
            return None, str(error)
        total, most = len(data), max(1, min(POINTS, NUMBERS // self.run.latent_dim))
        if total > most:
            data = data.take(torch.randperm(total, generator=stream(0, "explore"))[:most].sort().values)
        rows = Rows(data, device=self.run.device)
        draws = max(1, min(8, WORK // (len(data) * self.schema.dims)))
        found = evidence_rows(self.run.model, rows, samples=draws, shared=True)
        some = rows.first(JUDGED)
        judged = evaluate_model(self.run.model, some, samples=50, split=split).json()
        numbers, label_names = _labels(data.labels, len(data))
        discrete = bool(getattr(self.model.likelihood, "discrete", True))
        missed = -(found.reconstruction if discrete else found.reconstruction + rows.log_det)
        return Seen(
            data,
            split,
            total,
            self.run.encode(data).mean.numpy().astype(np.float32),
            missed.cpu().numpy().astype(np.float32),
            numbers,
            label_names,
            judged["kl_per_dimension"],
            {name: judged[name] for name in ("elbo", "reconstruction", "kl", "log_evidence", "active_units")}
            | {"rows": len(some)},
        ), None

    def _scale(self) -> tuple[float, float]:
        if not self.image:
            return 0.0, 1.0
        if self.seen is not None:
            return limits(self.seen.data.x[:JUDGED].double(), self.schema)
        return limits(self.decoded(np.zeros((1, self.run.latent_dim))), self.schema)

    @property
    def order(self) -> list[int]:
        """The latent dimensions by what they carry: their KL, largest first, else the variance of their codes."""
        by: NDArray[Any] = np.zeros(self.run.latent_dim)
        if self.seen is not None:
            kl = self.seen.kl
            by = self.seen.codes.var(0) if kl is None or len(kl) != self.run.latent_dim else np.asarray(kl)
        return np.argsort(-by, kind="stable").tolist()

    @property
    def unused(self) -> list[int]:
        """The dimensions whose E_q[z] varies by no more than 0.01 over the rows (Burda et al. 2016)."""
        return [] if self.seen is None else np.flatnonzero(self.seen.codes.var(0) <= ACTIVE).tolist()

    def principal(self) -> list[list[float]] | None:
        """Return the two directions (2, D) in which the codes vary most, of unit length; None without rows."""
        if self.seen is None or self.run.latent_dim < 2 or len(self.seen.codes) < 2:
            return None
        codes = self.seen.codes.astype(np.float64)
        _, vectors = np.linalg.eigh(np.cov(codes, rowvar=False))
        first = vectors[:, ::-1][:, :2].T
        # a direction has no sign of its own: let its largest entry be positive, so that maps can be compared
        return (first * np.sign(first[np.arange(2), np.abs(first).argmax(1)])[:, None]).tolist()

    def prior(self) -> tuple[dict[str, list[float]] | None, Floats]:
        """Return mean and deviation of a diagonal Gaussian p(z), or else 4,096 draws of p(z), (M, D)."""
        nothing = np.empty((0, self.run.latent_dim), np.float32)
        if not isinstance(self.model, VAE) or (needs_condition(self.model) and self.condition is None):
            return None, nothing
        with inference(self.model), suppress(UsageError, NotImplementedError):
            own = None if self.condition is None else at_rows(self.condition, torch.zeros(1, 1))
            p = self.model.prior_at(own if needs_condition(self.model.prior) else None)
            inner = p.base_dist if isinstance(p, Independent) else p
            if isinstance(inner, Normal):
                mean, deviation = (v.expand(inner.batch_shape).reshape(-1).tolist() for v in (inner.loc, inner.scale))
                return {"mean": mean, "deviation": deviation}, nothing
            from ..distributions import draw

            z = draw(p.expand(torch.Size([PRIOR_DRAWS])), 1, Noise(stream(0, "explore prior", self.run.device)))[0]
            return None, z.cpu().numpy().astype(np.float32)
        return None, nothing

    def facts(self) -> dict[str, Any]:
        """Return what the page must know before anything is drawn; the same run gives the same."""
        seen = self.seen
        gaussian, draws = self.prior()
        return {
            "name": self.schema.name,
            "recipe": self.run.meta.get("recipe", "model"),
            "latent_dim": self.run.latent_dim,
            "order": self.order,
            "unused": self.unused,
            "kl": None if seen is None else seen.kl,
            "principal": self.principal(),
            "prior": gaussian,
            "prior_draws": len(draws),
            "image": list(self.schema.shape) if self.image else None,
            "columns": None if self.image else names(self.schema),
            "rows": 0 if seen is None else len(seen.data),
            "total": 0 if seen is None else seen.total,
            "split": None if seen is None else seen.split,
            "reason": self.reason,
            "labels": None if seen is None else seen.label_names,
            "numbered": seen is not None and bool(np.isfinite(seen.labels).any()),
            "names": [] if seen is None else [str(name) for name in seen.data.names],
            "called": "row" if seen is None or seen.data.ids is None else "id",
            "figures": None if seen is None else seen.figures,
            "history": self.records(self.run.history),
            "runs": self.runs,
        }

    def records(self, history: History | None) -> list[dict[str, Any]]:
        """Return the curves of a training, at most 500 points of them."""
        records = [] if history is None else history.records
        step = math.ceil(len(records) / MOST_RECORDS) or 1
        keys = ("epoch", "loss", "elbo", "reconstruction", "kl")
        return [{key: record.get(key) for key in keys} for record in records[::step]]

    def points(self) -> bytes:
        """Return float32, little endian: codes (N, D), error (N,), labels (N,), then draws of p(z) (M, D)."""
        draws = self.prior()[1]
        known = () if self.seen is None else (self.seen.codes, self.seen.error, self.seen.labels)
        return b"".join(part.astype("<f4").tobytes() for part in (*known, draws))

    def decoded(self, places: Any) -> Tensor:
        """Return E[x | z] at places (P, D) in the user's units, (P, *shape)."""
        z = torch.as_tensor(np.asarray(places, np.float32), device=self.run.device)
        with inference(self.run.model):
            return self.schema.decode(centre(self.model.decode(z, at_rows(self.condition, z))).cpu())

    def decode(self, places: Any) -> Shown:
        """Return E[x | z] at places (P, D), in float32: a picture has 256 greys."""
        return self._shown(self.decoded(places))

    def path(self, start: list[float], end: list[float], steps: int, way: str) -> Shown:
        """Return the decodes on the way from place to place, both included: steps + 1 of them."""
        return self.decode(path_through(torch.tensor([start, end], dtype=torch.float64), steps, way))

    def grid(self, corner: list[float], right: list[float], up: list[float], side: int) -> Shown:
        """Return the decodes at corner + i right + j up, i and j below `side`, as a picture has them: from the top."""
        along = np.arange(side)[:, None]
        rows = np.asarray(corner) + (side - 1 - along[:, :, None]) * np.asarray(up)
        return self.decode((rows + along * np.asarray(right)).reshape(side * side, -1))

    def row(self, number: int) -> Shown:
        """Return a row, by its place on the map, as the model sees it, then its reconstruction E_q[E[x | z]]."""
        assert self.seen is not None
        one = self.seen.data.take([number])
        return self._shown(torch.cat([self._as_seen(one), self.run.reconstruct(one)]), gaps=1)

    def inputs(self, data: Dataset) -> Shown:
        """Return rows as the model sees them."""
        return self._shown(self._as_seen(data), gaps=len(data))

    def _as_seen(self, data: Dataset) -> Tensor:
        x = inputs_as_seen(data) if self.image else data.x.double()
        return x if data.observed is None else x.masked_fill(~data.observed, torch.nan)

    def _shown(self, x: Tensor, gaps: int = 0) -> Shown:
        """Return rows (P, *shape) as the page shows them; the first `gaps` of them may have gaps."""
        if not bool(torch.isfinite(x[gaps:]).all()):
            raise UsageError("the decoder gives no finite numbers here")
        if not self.image:
            return self.cells(x)
        low, high = self.scale
        grey = ((x.nan_to_num(nan=low) - low) / max(high - low, 1e-12)).clamp(0, 1)
        return (255 * grey).round().to(torch.uint8).numpy().tobytes()

    def cells(self, x: Tensor) -> list[list[str | float | None]]:
        """Return rows (P, *shape) in the user's units as the cells of a table; None for NaN."""
        if self.schema.columns is None:
            return [[None if math.isnan(v) else v for v in row] for row in x.flatten(1).tolist()]
        frame = self.run.frame(x, means=True)
        return [[_cell(value) for value in row] for row in frame.select(names(self.schema)).rows()]


Shown = bytes | list[list[str | float | None]]


def _cell(value: Any) -> str | float | None:
    if value is None or isinstance(value, float):
        return None if value is None or not math.isfinite(value) else value
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _labels(labels: NDArray[Any] | None, rows: int) -> tuple[Floats, list[str] | None]:
    """Return labels as numbers (N,): the places of their names where there are few, else the numbers that they are."""
    if labels is None:
        return np.full(rows, np.nan, np.float32), None
    known, index = np.unique(labels.astype(str), return_inverse=True)
    if len(known) <= MOST_LABELS:
        try:
            order = np.argsort(known.astype(float), kind="stable")
        except ValueError:
            order = np.arange(len(known))
        return order.argsort()[index].astype(np.float32), known[order].tolist()
    try:
        return labels.astype(np.float32), None
    except ValueError:
        return np.full(rows, np.nan, np.float32), None
