"""The picture of a comparison: rate against distortion, the split of the bound, and the differences."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .comparison import Compared, Comparison
    from .evaluation import Estimate

# Okabe & Ito's colours, told apart by the colour-blind; with markers, told apart in grey as well
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
ERRORS = 2  # standard errors on each side: about 95 %


def comparison_picture(comparison: Comparison) -> bytes:
    """Return a PNG: rate against distortion with lines of equal bound, the bound's split, differences to the best."""
    from matplotlib.figure import Figure

    runs = comparison.runs
    height = max(4.6, 1.8 + 0.75 * len(runs))
    figure = Figure(figsize=(12.5, height), dpi=130, layout="constrained")
    figure.suptitle(
        f"{len(runs)} runs on the same {comparison.rows:,} rows ({comparison.split}); "
        f"error bars: ±{ERRORS} standard errors",
        fontsize=13,
    )
    plane, split, differences = figure.subplots(1, 3, width_ratios=(5, 4, 3))
    _plane(plane, runs)
    _split(split, runs)
    _differences(differences, comparison)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _style(number: int) -> dict[str, str]:
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def _plane(axis: Any, runs: Sequence[Compared]) -> None:
    """Distortion over rate; on a line of slope -1 the bound is the same (Alemi et al. 2018, Fixing a Broken ELBO)."""
    for number, run in enumerate(runs):
        if run.kl is not None:
            axis.errorbar(
                run.kl.value,
                -run.reconstruction.value,
                xerr=_error(run.kl),
                yerr=_error(run.reconstruction),
                label=run.name,
                markersize=9,
                linestyle="none",
                capsize=3,
                elinewidth=1.2,
                **_style(number),
            )
    axis.margins(0.2)
    axis.autoscale_view()
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    left = max(-0.03 * (right - left), left)  # a rate is not negative; a marker at 0 is seen whole
    for level in _levels(left + low, right + high):  # -ELBO = rate + distortion
        axis.plot([left, right], [level - left, level - right], color="0.75", linewidth=0.9, zorder=0)
        inside = [(r, level - r) for r in np.linspace(left, right, 200) if low <= level - r <= high]
        if len(inside) > 40:
            r, d = inside[12]
            text = {"fontsize": 9, "color": "0.4", "ha": "center", "va": "center", "bbox": _WHITE, "zorder": 1}
            axis.text(r, d, f"{0.0 - level:g}", **text)
    axis.set(xlim=(left, right), ylim=(low, high))
    axis.set_xlabel("rate: KL, nats per row", fontsize=11)
    axis.set_ylabel("distortion: -reconstruction, nats per row", fontsize=11)
    axis.set_title("Rate and distortion; grey lines: equal ELBO", fontsize=11, loc="left")
    axis.legend(fontsize=10, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)


_WHITE = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}


def _levels(low: float, high: float) -> list[float]:
    """Return about six round numbers in between."""
    from matplotlib.ticker import MaxNLocator

    return [float(v) for v in MaxNLocator(nbins=7, steps=[1, 2, 5, 10]).tick_values(low, high) if low < v < high]


def _split(axis: Any, runs: Sequence[Compared]) -> None:
    """Reconstruction, KL and ELBO of each run as bars from 0."""
    parts = (("reconstruction", "0.75", ""), ("KL", "0.92", "////"), ("ELBO", "0.35", ""))
    for number, run in enumerate(runs):
        for place, (estimate, (label, grey, hatch)) in enumerate(zip((run.reconstruction, run.kl, run.elbo), parts)):
            if estimate is not None:
                where = number + 0.27 * (place - 1)
                axis.barh(
                    where,
                    estimate.value,
                    height=0.25,
                    xerr=_error(estimate),
                    color=grey,
                    hatch=hatch,
                    edgecolor="0.25",
                    linewidth=0.6,
                    capsize=2,
                    label=label if number == 0 else None,
                )
    axis.axvline(0, color="0.25", linewidth=0.8)
    _names(axis, runs)
    axis.set_xlabel("nats per row", fontsize=11)
    axis.set_title("ELBO = reconstruction - KL", fontsize=11, loc="left")
    axis.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, frameon=False)


def _differences(axis: Any, comparison: Comparison) -> None:
    """Differences to the best run, with the standard error over rows of the difference."""
    for number, run in enumerate(comparison.runs):
        for shift, estimate, filled in ((-0.12, run.elbo_difference, True), (0.12, run.evidence_difference, False)):
            if estimate is not None:
                style = _style(number)
                axis.errorbar(
                    estimate.value,
                    number + shift,
                    xerr=_error(estimate),
                    markersize=8,
                    capsize=3,
                    elinewidth=1.2,
                    markerfacecolor=style["color"] if filled else "white",
                    **style,
                )
    axis.axvline(0, color="0.25", linewidth=0.8)
    _names(axis, comparison.runs, shown=False)
    axis.set_xlabel("nats per row", fontsize=11)
    axis.set_title("Difference to the best, row by row", fontsize=11, loc="left")
    axis.plot([], [], "o", color="0.25", label="ELBO")
    axis.plot([], [], "o", color="0.25", markerfacecolor="white", label="log evidence")
    axis.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)


def _names(axis: Any, runs: Sequence[Compared], shown: bool = True) -> None:
    axis.set_yticks(range(len(runs)), [run.name if shown else "" for run in runs], fontsize=10)
    axis.set_ylim(len(runs) - 0.5, -0.5)


def _error(estimate: Estimate) -> float:
    return 0.0 if np.isnan(estimate.se) else ERRORS * estimate.se
