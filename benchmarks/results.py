"""What a benchmark has found so far, in a file: a run that is stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

Figures = dict[str, float]


class Results:
    """Figures by key, one line of JSON each, kept in `folder`/results.jsonl; with no folder in memory alone.

    At most `limit` seconds of processor time are spent on what is new; what is left then is None.
    """

    def __init__(self, folder: str | None = None, limit: float = float("inf")) -> None:
        self.file = None if folder is None else Path(folder) / "results.jsonl"
        self.limit, self.used = limit, 0.0
        self.known: dict[str, Figures] = {}
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if self.file.exists():
                lines = [json.loads(line) for line in self.file.read_text().splitlines()]
                self.known = {json.dumps(line["key"]): line["figures"] for line in lines}

    def once(self, key: Sequence[str | int], find: Callable[[], Figures]) -> Figures | None:
        """Return the figures of this key: known ones, else found now and kept."""
        name = json.dumps(list(key))
        if name not in self.known:
            if self.used > self.limit:
                return None
            self.known[name] = find()
            self.used += self.known[name].get("seconds", 0.0)
            if self.file is not None:
                with self.file.open("a") as out:
                    out.write(json.dumps({"key": list(key), "figures": self.known[name]}) + "\n")
        return self.known[name]

    @staticmethod
    def cell(found: Iterable[Figures | None], figure: str) -> str:
        """Return "mean ± standard error" over seeds, "value (one seed)", or "-" where nothing was found."""
        values = [figures[figure] for figures in found if figures is not None]
        if not values:
            return "-"
        if len(values) == 1:
            return f"{values[0]:.3f} (one seed)"
        return f"{np.mean(values):.3f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.3f}"

    def spent(self, part: str, methods: Iterable[str]) -> str:
        """Return the seconds of each method in a part, in words."""
        keys: Mapping[str, Sequence[str | int]] = {name: json.loads(name) for name in self.known}
        total = {
            method: sum(self.known[n].get("seconds", 0.0) for n, k in keys.items() if k[0] == part and method in k)
            for method in methods
        }
        return ", ".join(f"{method} {seconds:.0f}" for method, seconds in total.items())
