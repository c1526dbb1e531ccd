"""The curve of each cell against passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..experiments.picture import BLUE, GREEN, PURPLE, png, tidy
from .base import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"1": PURPLE, "5": GREEN, "50": BLUE}  # by k
LINES = {"iwae": "-", "vae": "--"}


def picture(results: Results) -> bytes:
    """One panel for each number of layers: nats of test rows against passes, a line for each cell of table 1."""

    def paint(figure: Figure) -> None:
        for axis, layers in zip(figure.subplots(1, 2, sharey=True), "12"):
            for name, found in results.items():
                kind, of, objective, k, steps = name.split("-")
                if kind != "dynamic" or of != layers or steps != "ours" or not found.looks:
                    continue
                passes = [look["samples"] / found.rows[0] for look in found.looks]
                values = [look["nll_50"] for look in found.looks]
                label = f"{objective.upper()}, k = {k}" if k != "1" else "k = 1"
                axis.plot(passes, values, LINES[objective], color=COLOURS[k], marker="o", markersize=4, label=label)
            axis.set_xscale("log")
            tidy(axis, "passes", "-L50, nats per test row" if layers == "1" else "", f"{layers} stochastic layer(s)")

    return png(paint, 12, 4.5)
