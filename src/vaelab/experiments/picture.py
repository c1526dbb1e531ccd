"""How the pictures of the experiments are drawn: white ground, large letters, colours for every kind of eye."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..report.draw import BLUE, GREEN, PURPLE, SETTINGS, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "PURPLE", "VERMILION", "png", "tidy"]

GREY, ORANGE = "#7F7F7F", "#E69F00"
OWN: dict[str, Any] = {
    "font.size": 13,  # at half the size still as large as small print
    "axes.titlesize": 13,
    "axes.labelsize": 13,
    "legend.fontsize": 11.5,
    "lines.linewidth": 2.2,
    "lines.markersize": 7,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
}


def png(paint: Callable[[Figure], None], width: float, height: float) -> bytes:
    """Return what `paint` draws on an empty figure (inches) as a PNG file; the same bytes every time."""
    from matplotlib import style
    from matplotlib.figure import Figure

    out = io.BytesIO()
    with style.context(["default", SETTINGS | OWN]):
        figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
        paint(figure)
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def tidy(axis: Axes, x: str, y: str, title: str = "", *, legend: Any = "best") -> None:
    """Label both axes, title on the left, a faint grid, and a legend (its place, or None) where there are labels."""
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.set_title(title, loc="left")
    axis.grid(True, alpha=0.25, linewidth=0.8)
    axis.set_axisbelow(True)
    if legend is not None and axis.get_legend_handles_labels()[0]:
        axis.legend(loc=legend)
