"""The charts of a report that do not depend on the kind of data: training, the bound's split, latents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation import Evaluation
from ..evaluation.collapse import ACTIVE
from .draw import BLUE, CLASSES, INK, PURPLE, VERMILION, short, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = NDArray[np.float64]
MOST_CLASSES = len(CLASSES)
PRIOR_MASS = (0.5, 0.9, 0.99)


def series(records: list[dict[str, Any]], name: str) -> Numbers:
    """Return one figure of each record, NaN where there is none or where it is not finite."""
    values = [record.get(name) for record in records]
    return np.array([math.nan if v is None or not math.isfinite(v) else float(v) for v in values])


def training(records: list[dict[str, Any]], best: dict[str, Any] | None, bounded: bool) -> bytes:
    """The training objective and the validation bound against epochs, the best marked."""
    epochs, validation = series(records, "epoch"), series(records, "bound")

    def paint(figure: Figure) -> None:
        axis = figure.subplots()
        _line(axis, epochs, -series(records, "loss"), "training objective", VERMILION, "--")
        if not np.isnan(validation).all():
            _line(axis, epochs, validation, "validation bound" if bounded else "validation log p(x | z)", BLUE, "-")
            if best is not None:
                label = f"best, epoch {best['epoch']}"
                axis.plot([best["epoch"]], [best["bound"]], "o", color=BLUE, markersize=7, label=label)
        _labelled(axis, "nats per row")
        _without_the_start(axis)
        axis.legend(loc="lower right")

    return svg(paint)


def rate_distortion(records: list[dict[str, Any]]) -> bytes:
    """Distortion -E[log p(x | z)] and rate KL of the validation rows against epochs, each on its own scale."""
    epochs = series(records, "epoch")

    def paint(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True)
        _line(above, epochs, -series(records, "reconstruction"), "distortion", PURPLE, "-")
        _line(below, epochs, series(records, "kl"), "rate", BLUE, "-")
        above.set_title("distortion, -E[log p(x | z)]", loc="left")
        below.set_title("rate, KL(q(z | x) || p(z))", loc="left")
        _without_the_start(above)
        for axis in (above, below):
            _labelled(axis, "nats per row")
        above.set_xlabel("")

    return svg(paint)


def _line(axis: Axes, x: Numbers, y: Numbers, label: str, colour: str, style: str) -> None:
    # a short run shows its points, so that one report alone is seen as well
    axis.plot(x, y, style, color=colour, label=label, marker="." if len(x) <= 12 else None)


def _labelled(axis: Axes, y: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_xlabel("epochs")
    axis.set_ylabel(y)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.grid(True, color=INK, alpha=0.12, linewidth=0.8)


def _without_the_start(axis: Axes) -> None:
    """Cut the axis where the first epochs would press all later ones into a line."""
    drawn = [np.asarray(line.get_ydata(), dtype=float) for line in axis.lines]
    later = np.concatenate([y[len(y) // 10 :] if len(y) > 10 else y for y in drawn])
    later = later[np.isfinite(later)]
    if len(later):
        pad = 0.08 * (np.ptp(later) or abs(later[0]) or 1.0)
        axis.set_ylim(later.min() - pad, later.max() + pad)


def bound_split(judged: Evaluation) -> bytes:
    """ELBO, log evidence and reconstruction on one line of nats; the KL is what lies between the outer two."""
    from matplotlib.ticker import MaxNLocator

    assert judged.elbo is not None
    assert judged.kl is not None
    assert judged.log_evidence is not None
    points = (
        ("ELBO", judged.elbo, BLUE),
        ("log evidence", judged.log_evidence, PURPLE),
        ("reconstruction", judged.reconstruction, VERMILION),
    )
    left, kl = judged.elbo.value, judged.kl.value
    gap = judged.log_evidence.value - left

    def paint(figure: Figure) -> None:
        axis = figure.subplots()
        axis.barh([0], [kl], left=left, height=0.5, color=BLUE, alpha=0.3)
        axis.barh([1], [gap], left=left, height=0.5, color=PURPLE, alpha=0.3)
        for row, (_, estimate, colour) in enumerate(points):
            error = 0.0 if math.isnan(estimate.se) else estimate.se
            axis.errorbar([estimate.value], [row], xerr=[error], fmt="o", color=colour, capsize=3)
        axis.annotate(f"KL {kl:,.2f}", (left + kl / 2, -0.3), ha="center", va="bottom")
        axis.xaxis.set_major_locator(MaxNLocator(6))
        axis.set_yticks([0, 1, 2], [f"{name}\n{estimate.value:,.2f}" for name, estimate, _ in points])
        axis.set_ylim(2.6, -0.75)
        axis.margins(x=0.08)
        axis.set_xlabel("nats per row (mean and its standard error)")
        axis.grid(True, axis="x", color=INK, alpha=0.12)

    return svg(paint, height=2.4)


def kl_bars(kl: Numbers, active: NDArray[np.bool_]) -> bytes:
    """KL per latent dimension, largest first; those that are not active are grey."""
    order = np.argsort(-kl, kind="stable")

    def paint(figure: Figure) -> None:
        axis = figure.subplots()
        for is_active, colour, label in (
            (True, BLUE, "active"),
            (False, "#8A8A8A", f"not active (variance of mean below {ACTIVE})"),
        ):
            at = np.flatnonzero(active[order] == is_active)
            if len(at):
                axis.bar(at, kl[order][at], color=colour, label=label)
        every = max(1, math.ceil(len(kl) / 16))
        axis.set_xticks(range(0, len(kl), every), [f"z{order[i] + 1}" for i in range(0, len(kl), every)])
        axis.set_xlabel("latent dimension, by KL")
        axis.set_ylabel("KL, nats per row")
        axis.grid(True, axis="y", color=INK, alpha=0.12)
        axis.set_axisbelow(True)
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)

    return svg(paint, height=2.4)


def code_map(
    codes: Numbers, dims: tuple[int, int], colour: NDArray[Any], prior: tuple[float, float] | Numbers | None, what: str
) -> bytes:
    """Posterior means in two latents, coloured by a class (a few) or a number; circles hold shares of the prior.

    `prior` is (loc, scale) of a Gaussian with equal scales, or draws (n, 2) of another, or None.
    """
    x, y = codes[:, dims[0]], codes[:, dims[1]]
    classes = np.unique(colour) if colour.dtype.kind in "biuUSO" else None
    by_class = classes is not None and len(classes) <= MOST_CLASSES

    def paint(figure: Figure) -> None:
        axis = figure.subplots()
        if isinstance(prior, tuple):
            _circles(axis, *prior)
        elif prior is not None:
            axis.plot(prior[:, 0], prior[:, 1], ".", color="#8A8A8A", markersize=2, alpha=0.5, rasterized=True)
        if by_class:
            assert classes is not None
            for value, shade in zip(classes, CLASSES):
                at = colour == value
                axis.plot(x[at], y[at], "o", color=shade, markersize=3, alpha=0.75, markeredgewidth=0, rasterized=True)
            for value, shade in zip(classes, CLASSES):  # names last, above every point
                at = colour == value
                box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": shade, "alpha": 0.9}
                spot = (float(np.median(x[at])), float(np.median(y[at])))
                axis.text(
                    *spot, short(str(value), 14), color="#1b2026", ha="center", va="center", bbox=box, fontsize=8.5
                )
        else:
            low, high = np.nanquantile(colour, [0.02, 0.98])
            points = axis.scatter(
                x, y, c=colour, cmap="viridis", vmin=low, vmax=high, s=9, linewidths=0, rasterized=True
            )
            figure.colorbar(points, ax=axis, label=what, extend="both", aspect=25)
        axis.set_xlabel(f"E[z{dims[0] + 1} | x]")
        axis.set_ylabel(f"E[z{dims[1] + 1} | x]")
        axis.set_aspect("equal", adjustable="datalim")

    return svg(paint, height=4.2)


def _circles(axis: Axes, loc: float, scale: float) -> None:
    from matplotlib.patches import Circle

    for mass in PRIOR_MASS:
        radius = scale * math.sqrt(-2 * math.log1p(-mass))
        axis.add_patch(Circle((loc, loc), radius, fill=False, edgecolor=INK, alpha=0.45, linewidth=0.9, linestyle=":"))
        axis.annotate(f"{mass:.0%}", (loc, loc + radius), ha="center", va="bottom", fontsize=7.5, alpha=0.8)
        axis.update_datalim([(loc - radius, loc - radius), (loc + radius, loc + radius)])
    axis.autoscale_view()


def one_latent(codes: Numbers, density: tuple[Numbers, Numbers] | None) -> bytes:
    """The posterior means of a single latent, with the density of the prior."""

    def paint(figure: Figure) -> None:
        axis = figure.subplots()
        axis.hist(codes, bins=40, density=True, color=BLUE, alpha=0.4, label="E[z1 | x]")
        if density is not None:
            axis.plot(*density, color=INK, label="p(z)")
        axis.set_xlabel("z1")
        axis.set_ylabel("density")
        axis.legend()

    return svg(paint, height=2.4)
