"""What a report shows, measured once: figures, a score per row, codes, reconstructions and draws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data import Dataset
from ..errors import VaelabError
from ..evaluation import Evaluation, evaluate_model, evidence_rows
from ..noise import stream
from ..options import read_toml
from ..part import exact
from ..pictures import inputs_as_seen
from ..training import Rows
from .places import needs_condition

if TYPE_CHECKING:
    from ..run import Run

ROWS, FEWEST_ROWS, CELLS = 1000, 200, 2**20  # of a larger part, drawn at random: at most ROWS, fewer of large images
DRAWS, FEWEST_DRAWS, ENTRIES = 300, 20, 2**25  # draws per row: as many as make this many entries of x, at most DRAWS
SCORE_DRAWS = 100
EXTREME = 10  # rows in each group of the least and the most likely
LEAST, MIDDLE, MOST = "least likely", "in the middle", "most likely"


@dataclass(frozen=True)
class Seen:
    """What the model says of rows, N of them, in their order; images and tables in the user's units."""

    data: Dataset
    split: str
    total: int  # rows of the part that these were drawn from
    positions: NDArray[np.int64]  # (N,) their numbers in that part, from 0
    judged: Evaluation
    scores: NDArray[np.float64]  # (N,) nats: a bound on log p(x), or E[log p(x | z)] where there is no such bound
    score_draws: int
    codes: NDArray[np.float64]  # (N, Z) E_q[z]
    inputs: Tensor  # (N, *shape), binarised where the model sees them so; NaN where unobserved

    @property
    def order(self) -> NDArray[np.intp]:
        """The rows from the least likely to the most; equals keep their order."""
        return self.scores.argsort(kind="stable")

    def extremes(self) -> dict[str, list[int]]:
        """Return the rows with the lowest scores, lowest first; those around the median; those with the highest."""
        order = self.order
        few = min(EXTREME, max(1, len(order) // 3))
        middle = (len(order) - few) // 2
        picked = {
            LEAST: order[:few],
            MIDDLE: order[middle : middle + few],
            MOST: np.flip(order[len(order) - few :]),
        }
        return {name: rows.tolist() for name, rows in picked.items()}

    @property
    def called(self) -> str:
        """What names the rows: their ids, or their numbers in the source, from 1."""
        return "row" if self.data.ids is None else "id"

    def name(self, row: int) -> str:
        """Return the id or number of a row."""
        return str(self.data.names[row])


@dataclass(frozen=True)
class Measured:
    """A run with what its report shows. Without rows `seen` is None and `reason` says why."""

    run: Run
    seen: Seen | None
    reason: str | None
    warnings: list[str]
    drawn: Tensor | None  # (n, *shape) draws of x; None for a model that needs a condition
    means: Tensor | None  # (n, *shape) E[x | z] of the same z

    def reconstructed(self, rows: list[int]) -> Tensor:
        """Return E[x | z] for some of the rows seen, (n, *shape): of images all would take long."""
        assert self.seen is not None
        return self.run.reconstruct(self.seen.data.take(rows)).cpu()

    @property
    def bounded(self) -> bool:
        """Whether the model gives a bound on log p(x): the plain autoencoder does not."""
        if self.seen is not None:
            return self.seen.judged.elbo is not None
        records = [] if self.run.history is None else self.run.history.records
        return not records or any(record.get("kl") for record in records)


def measure(run: Run, source: Any = None, *, draws: int = 20) -> Measured:
    """Judge a run on rows of `source`, or on those it knows; with `draws` new images (1,000 rows of a table) beside.

    The rows of a run that are gone, or that have changed, are a reason and no error; those of a `source` that cannot
    be read raise.
    """
    drawn = means = None
    if not needs_condition(run.model):
        draws = draws if run.schema.layout == "image" else ROWS
        drawn, means = run.generate(draws), run.generate(draws, means=True)
    own, reason = _own(run)
    if own is None and source is None:
        return Measured(run, None, reason, [], drawn, means)
    data, split = own if own is not None and source is None else run.data(source)
    warnings = [f"The training was not looked at: {reason}"]
    if own is not None:
        warnings = [str(finding) for finding in run.doctor(quick=True).findings]
    return Measured(run, _look(run, data, split), reason, warnings, drawn, means)


def _own(run: Run) -> tuple[tuple[Dataset, str] | None, str | None]:
    """Return the rows that a run knows, or why it does not; a page that is passed on names no folders."""
    try:
        return run.data(), None
    except VaelabError as error:
        reason = str(error)
    if run.folder is not None:
        source = str(read_toml(run.folder / "config.toml")[0]) if (run.folder / "config.toml").exists() else ""
        reason = reason.replace(source, Path(source).name).replace(str(run.folder), "the run's folder")
    return None, reason


def _look(run: Run, data: Dataset, split: str) -> Seen:
    total, positions = len(data), torch.arange(len(data))
    most = min(ROWS, max(FEWEST_ROWS, CELLS // run.schema.dims))
    if total > most:
        positions = torch.randperm(total, generator=stream(0, "report"))[:most].sort().values
        data = data.take(positions)
    draws = min(DRAWS, max(FEWEST_DRAWS, ENTRIES // (len(data) * run.schema.dims)))
    score_draws = min(draws, SCORE_DRAWS)
    judged = evaluate_model(run.model, Rows(data, device=run.device), split=split, samples=draws)
    # the user's own numbers, but for rows that the model sees as 0 and 1
    inputs = data.x.double() if run.schema.binarize is None else inputs_as_seen(data)
    if data.observed is not None:
        inputs = inputs.masked_fill(~data.observed, torch.nan)
    return Seen(
        data,
        split,
        total,
        positions.numpy(),
        judged,
        _scores(run, data, judged, score_draws).cpu().numpy(),
        score_draws,
        run.encode(data).mean.cpu().numpy(),
        inputs,
    )


def _scores(run: Run, data: Dataset, judged: Evaluation, draws: int) -> Tensor:
    """Return a bound on log p(x) per row; where there is none, log p(x | z) at the row's code."""
    if judged.log_evidence is not None:
        return run.score(data, samples=draws)
    rows = Rows(data, dtype=torch.float64)
    found = evidence_rows(exact(run.model), rows, samples=draws, shared=True).reconstruction
    discrete = run.model.likelihood.discrete  # type: ignore[union-attr]
    return found if discrete else found + rows.log_det
