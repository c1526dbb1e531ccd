"""Charts as SVG: the page's ink in light and in dark, the same bytes every time, and text that stays text."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#0a0b0c"  # stands for the colour of the page's text until the picture is shown
# Okabe & Ito's colours, told apart by every kind of colour vision; each has contrast 3 on white and on near-black
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
CLASSES = (BLUE, VERMILION, GREEN, PURPLE, "#56B4E9", "#E69F00", "#8C6D1F", "#7F7F7F", "#B2182B", "#5E4FA2")
WIDTH = 4.8  # inches: at the width of a telephone the text is still as large as the page's small print

SETTINGS: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "vaelab",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
STYLE = b"<style>svg{color:#1b2026}@media (prefers-color-scheme:dark){svg{color:#e4e8ec}}</style>"


def svg(paint: Callable[[Figure], None], *, width: float = WIDTH, height: float = 3.0) -> bytes:
    """Return what `paint` draws on an empty figure (inches), as an SVG file that stands by itself.

    Names of columns are drawn as they are: no text is read as a formula. The user's matplotlib settings count for
    nothing here, and are as they were afterwards.
    """
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    out = io.BytesIO()
    with style.context(["default", SETTINGS]), warnings.catch_warnings():
        # the browser has the letters that matplotlib's font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        for text in figure.findobj(Text):
            text.set_parse_math(False)
        figure.savefig(out, format="svg", dpi=160, metadata={"Date": None})
    content = re.sub(rb"\s*<metadata>.*?</metadata>", b"", out.getvalue(), flags=re.DOTALL)
    content = content.replace(INK.encode(), b"currentColor")
    return re.sub(rb"(<svg [^>]*>)", rb"\1" + STYLE, content, count=1)


def short(name: str, limit: int = 22) -> str:
    """Return a name cut to `limit` characters, for an axis."""
    return name if len(name) <= limit else name[: limit - 1] + "…"
