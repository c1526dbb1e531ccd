"""Runs side by side: the same figures on the same rows, and the differences with errors of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .comparison_picture import comparison_picture
from .data import Dataset
from .errors import UsageError
from .evaluation import Estimate, RowValues, judged_rows
from .run import Run
from .training import Rows
from .verbs import opened

FIGURES = ("reconstruction", "kl", "elbo", "log_evidence")


@dataclass(frozen=True)
class Compared:
    """One run: what it is, its figures, and its differences to the best run, all in nats per row of the user's units.

    A difference is this run's value less the best run's, row by row, so that its standard error is that of the
    difference: how hard a row is cancels. Figures that a run without a density of q has not are None.
    """

    name: str
    facts: dict[str, str]
    reconstruction: Estimate
    kl: Estimate | None
    elbo: Estimate | None
    log_evidence: Estimate | None
    elbo_difference: Estimate | None = None
    evidence_difference: Estimate | None = None

    def json(self) -> dict[str, Any]:
        """Return one entry of the document."""
        names = (*FIGURES, "elbo_difference", "evidence_difference")
        figures: dict[str, Estimate | None] = {name: getattr(self, name) for name in names}
        return {"run": self.name, **self.facts, **{k: v and v.json() for k, v in figures.items()}}


@dataclass(frozen=True)
class Comparison:
    """Runs judged on the same rows; `best` names the one with the largest log evidence.

    >>> len(vaelab.compare([run, run], samples=5).json()["runs"])
    2
    """

    rows: int
    split: str
    samples: int
    best: str | None
    runs: tuple[Compared, ...]

    def json(self) -> dict[str, Any]:
        """Return the document that `vaelab compare --json` prints."""
        head = {"rows": self.rows, "split": self.split, "units": "user", "samples": self.samples, "best": self.best}
        return {**head, "runs": [run.json() for run in self.runs]}

    def picture(self) -> bytes:
        """Return a PNG: rate against distortion with lines of equal bound, the bound's split, and the differences."""
        return comparison_picture(self)

    def __str__(self) -> str:
        """Return the figures, one line per run, and below them what the runs share and where they differ."""
        shared, differing = _shared_and_differing(self.runs)
        names = {"run": [run.name for run in self.runs]}
        titles = ("reconstruction", "KL", "ELBO", "log evidence", "evidence - best's")
        figures = {
            title: [self._cell(run, name) for run in self.runs]
            for title, name in zip(titles, (*FIGURES, "evidence_difference"))
        }
        facts = {fact: [run.facts.get(fact, "-") for run in self.runs] for fact in differing}
        lines = [
            f"{self.rows:,} rows ({self.split}), nats per row ± standard error; log evidence: {self.samples:,} draws",
            *_table({**names, **figures}),
            *([f"all: {', '.join(f'{k} {v}' for k, v in shared.items())}"] if shared else []),
            *(_table({**names, **facts}) if facts else []),
        ]
        return "\n".join(lines)

    def _cell(self, run: Compared, name: str) -> str:
        value: Estimate | None = getattr(run, name)
        if value is None:
            return "-"
        if name.endswith("_difference"):
            return "best" if run.name == self.best else f"{value.value:+.3f} ± {value.se:.3f}"
        return str(value)


def _table(columns: dict[str, list[str]]) -> list[str]:
    widths = [max(map(len, (title, *cells))) for title, cells in columns.items()]
    lines = [tuple(columns), *zip(*columns.values())]
    return ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip() for cells in lines]


def compare(
    runs: Sequence[Run | str | Path],
    source: Any = None,
    *,
    samples: int = 5000,
    seed: int = 0,
    names: Sequence[str] | None = None,
) -> Comparison:
    """Judge runs on the same rows (their test, else validation, else training part, or those of `source`).

    Raises UsageError, naming two runs, where their rows or what their log p(x) measures are not the same.

    >>> found = vaelab.compare([run, run], samples=5)
    >>> found.runs[1].elbo_difference.value
    0.0
    """
    if len(runs) < 2:
        raise UsageError(f"compare needs at least two runs, got {len(runs)}.")
    loaded = [opened(run) for run in runs]
    named = _distinct(list(names or [_name(run, number) for number, run in enumerate(loaded, 1)]))
    places = [_rows(run, source) for run in loaded]
    _check_same(named, loaded, places)
    values: list[RowValues] = []
    for run, (rows, _, _) in zip(loaded, places):
        values.append(judged_rows(run.model, rows, samples=samples, seed=seed))
    able = [n for n, v in enumerate(values) if v.evidence is not None]
    best = max(able, key=lambda n: values[n].evidence.mean().item()) if able else None  # type: ignore[union-attr]
    compared = [
        _compared(name, run, v, None if best is None else values[best]) for name, run, v in zip(named, loaded, values)
    ]
    rows, split, _ = places[0]
    return Comparison(len(rows), split, samples, None if best is None else named[best], tuple(compared))


def _compared(name: str, run: Run, values: RowValues, best: RowValues | None) -> Compared:
    reconstruction = Estimate.of(values.reconstruction)
    if values.kl is None or values.evidence is None or best is None or best.evidence is None:
        return Compared(name, _facts(run, values), reconstruction, None, None, None)
    return Compared(
        name,
        _facts(run, values),
        reconstruction,
        Estimate.of(values.kl.sum(1)),
        Estimate.of(values.elbo),
        Estimate.of(values.evidence),
        Estimate.of(values.elbo - best.elbo),
        Estimate.of(values.evidence - best.evidence),
    )


def _facts(run: Run, values: RowValues) -> dict[str, str]:
    """Return what a reader tells runs apart by: parts, sizes, and how long and how fast it was trained."""
    parts, settings, data = (run.meta.get(key, {}) for key in ("parts", "settings", "data"))
    facts = {
        "recipe": run.meta.get("recipe"),
        **parts,
        "latents": values.mean.shape[1],
        "parameters": f"{sum(p.numel() for p in run.model.parameters()):,}",
        "trained on": f"{data['train']:,} rows" if "train" in data else None,
        **{name: settings.get(name) for name in ("seed", "lr", "batch_size", "epochs", "minutes")},
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def _shared_and_differing(runs: Sequence[Compared]) -> tuple[dict[str, str], list[str]]:
    known = list(dict.fromkeys(fact for run in runs for fact in run.facts))
    differing = [fact for fact in known if len({run.facts.get(fact) for run in runs}) > 1]
    return {fact: runs[0].facts[fact] for fact in known if fact not in differing}, differing


def _name(run: Run, number: int) -> str:
    return str(run.folder) if run.folder is not None else f"run {number}"


def _distinct(names: list[str]) -> list[str]:
    """Return the names, numbered where one stands twice: a run compared with itself is two lines."""
    return [f"{name} ({names[: n + 1].count(name)})" if names.count(name) > 1 else name for n, name in enumerate(names)]


Place = tuple[Rows, str, Dataset | None]


def _rows(run: Run, source: Any) -> Place:
    if isinstance(source, Rows):
        return source, "given", None
    data, split = run.data(source)
    return Rows(data, device=run.device), split, data


def _check_same(names: list[str], runs: list[Run], places: list[Place]) -> None:
    """Refuse runs whose figures are not of the same rows, or not of the same kind."""
    first = (names[0], runs[0], *places[0])
    for name, run, (rows, split, data) in zip(names[1:], runs[1:], places[1:]):
        both = f"{first[0]} and {name}"
        if first[4] is not None and data is not None and (split, data.digest) != (first[3], first[4].digest):
            a, b = (f"{len(r):,} {s} rows of {d.schema.name}" for r, s, d in (first[2:5], (rows, split, data)) if d)
            raise UsageError(
                f"{both} are not judged on the same rows ({a}; {b}). Train them on one source with one --seed and "
                "--validation, or give --source ROWS that none was trained on."
            )
        measures = [_measure(first[1], first[2]), _measure(run, rows)]
        if measures[0] != measures[1]:
            raise UsageError(
                f"{both} cannot be compared: log p(x) is {measures[0]} in the first and {measures[1]} in the second. "
                "Use one --likelihood and one --binarize for both."
            )


def _measure(run: Run, rows: Rows) -> str:
    discrete = bool(getattr(getattr(run.model, "likelihood", None), "discrete", False))
    binarised = f" of values binarised by {rows.schema.binarize}" if rows.schema.binarize else ""
    return ("the log of a probability" if discrete else "the log of a density") + binarised
