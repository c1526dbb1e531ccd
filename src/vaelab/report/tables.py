"""What a report shows of tables and other rows of numbers: columns real against generated, cells, decoded maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..data import Schema
from .draw import BLUE, VERMILION, short, svg
from .markup import Html, element, joined, paragraph, picture, table
from .measure import LEAST, Measured, Seen
from .places import plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLUMNS = 12
MOST_CORRELATED = 40
MOST_MAPS = 4
COMPARED = 3  # rows from the middle, and of the most likely
FEW_VALUES = 20  # a column with no more distinct values has one bar for each

Numbers = NDArray[np.float64]


def names(schema: Schema) -> list[str]:
    """Return the names of the entries of a row, in their order."""
    if schema.columns is not None:
        return list(schema.columns)
    return [f"x{list(index)}" for index in np.ndindex(*schema.shape)]


def flat(rows: Tensor) -> Numbers:
    """Return rows (N, *shape) as (N, columns)."""
    return rows.flatten(1).double().numpy()


def explained(x: Numbers, r: Numbers) -> Numbers:
    """Return R² = 1 - E[(x - E[x | z])²] / Var x per column, over observed entries; NaN for a constant."""
    rest = np.where(np.isnan(x), np.nan, x - r)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.nanmean((x - np.nanmean(x, 0)) ** 2, 0)
        return np.where(total > 0, 1 - np.nanmean(rest**2, 0) / total, np.nan)


def correlations(x: Numbers) -> Numbers:
    """Return the correlation matrix (C, C) of columns, each pair over the rows where both were observed."""
    seen = ~np.isnan(x)
    with np.errstate(invalid="ignore", divide="ignore"):
        y = np.where(seen, x - np.nanmean(x, 0), 0.0)  # centred first: no cancellation below
        n = seen.T.astype(float) @ seen
        mean, square = y.T @ seen / n, (y * y).T @ seen / n  # [i, j]: of column i where j was observed
        variance = square - mean**2
        return (y.T @ y / n - mean * mean.T) / np.sqrt(variance * variance.T)


def samples(m: Measured) -> Html:
    """Columns of the rows beside columns of as many draws from the model."""
    schema, seen = m.run.schema, m.seen
    columns = names(schema)
    if m.drawn is None:
        return paragraph("This model is conditional: it draws rows only under a condition, so none are shown.")
    new = flat(m.drawn)
    if seen is None:
        rows = [(c, number(new[:, i].mean()), number(new[:, i].std())) for i, c in enumerate(columns[:MOST_COLUMNS])]
        return table(("column", "mean", "deviation"), rows, caption=f"{len(new):,} draws", class_="numbers")
    real = flat(seen.inputs)
    first = "" if len(columns) <= MOST_COLUMNS else f" The first {MOST_COLUMNS} of {len(columns)} columns."
    caption = joined(
        (
            "Each column of the rows (filled) and of ",
            f"{len(new):,} draws from the model (line), as shares of each; draws beyond the rows are in the end bins.",
            first,
        )
    )
    alt = "Histograms, the rows filled, generated rows as a line: " + ", ".join(columns[:MOST_COLUMNS])
    pictures = (
        picture(_marginals(real, new, columns), alt, caption, kind="svg+xml", class_="chart"),
        _correlated(real, new, columns) if len(columns) > 1 else None,
    )
    return joined(
        (
            element("div", *pictures, class_="side"),
            _column_table(m.run.schema, real, flat(m.reconstructed(list(range(len(real))))), new, columns),
        )
    )


def _marginals(real: Numbers, new: Numbers, columns: list[str]) -> bytes:
    shown = min(MOST_COLUMNS, len(columns))
    across = min(3, shown)
    down = -(-shown // across)

    def paint(figure: Figure) -> None:
        axes = figure.subplots(down, across, squeeze=False).flat
        for i, axis in enumerate(axes):
            if i >= shown:
                axis.set_axis_off()
                continue
            _marginal(axis, real[:, i], new[:, i])
            axis.set_title(short(columns[i]), loc="left")
            axis.set_yticks([])
            axis.spines["left"].set_visible(False)

    return svg(paint, width=1.9 * across if across > 1 else 3.4, height=1.35 * down)


def _marginal(axis: Axes, real: Numbers, new: Numbers) -> None:
    """Shares of both in the same bins: one per value of a column of few values, else of equal width."""
    real = real[~np.isnan(real)]
    if not len(real):
        axis.text(0.5, 0.5, "not observed", ha="center", va="center", transform=axis.transAxes)
        return
    values = np.unique(real)
    if len(values) <= FEW_VALUES:
        middle = (values[1:] + values[:-1]) / 2
        step = float(np.diff(values).min()) if len(values) > 1 else 1.0
        edges = np.concatenate([[values[0] - step / 2], middle, [values[-1] + step / 2]])
    else:
        edges = np.linspace(real.min(), real.max(), 25)
    for x, how in ((real, {"fill": True, "color": BLUE, "alpha": 0.35}), (new, {"color": VERMILION})):
        share = np.histogram(x.clip(edges[0], edges[-1]), edges)[0] / len(x)
        axis.stairs(share, edges, **how)


def _correlated(real: Numbers, new: Numbers, columns: list[str]) -> Html:
    cut = min(MOST_CORRELATED, len(columns))
    pair = (correlations(real[:, :cut]), correlations(new[:, :cut]))
    off = ~np.eye(cut, dtype=bool)
    largest = np.nanmax(np.abs(pair[0] - pair[1])[off], initial=0.0)

    def paint(figure: Figure) -> None:
        axes = figure.subplots(1, 2)
        for axis, matrix, title in zip(axes, pair, ("rows", "generated")):
            image = axis.imshow(matrix, cmap="PuOr", vmin=-1, vmax=1, interpolation="nearest")
            axis.set_title(title, loc="left")
            every = max(1, cut // 12)
            axis.set_xticks(range(0, cut, every), [str(i + 1) for i in range(0, cut, every)], fontsize=7.5)
            axis.set_yticks(range(0, cut, every), [str(i + 1) for i in range(0, cut, every)], fontsize=7.5)
        figure.colorbar(image, ax=axes, shrink=0.8, aspect=14, ticks=[-1, 0, 1])

    caption = f"Correlations between columns, numbered as below. The largest difference is {largest:.2f}."
    alt = "Correlation matrices of the rows and of generated rows, side by side"
    return picture(svg(paint, height=2.3), alt, caption, kind="svg+xml", class_="chart")


def _column_table(schema: Schema, real: Numbers, again: Numbers, new: Numbers, columns: list[str]) -> Html:
    def told(i: int, values: Numbers) -> str:
        if levels := levels_of(schema, i):
            return common(levels, values)
        return f"{number(np.nanmean(values))} ± {number(np.nanstd(values))}"

    with np.errstate(invalid="ignore"):
        share = explained(real, again)
        body = [
            (
                f"{i + 1}  {c}",
                "" if levels_of(schema, i) else "none" if np.isnan(share[i]) else f"{share[i]:.3f}",
                told(i, real[:, i]),
                told(i, new[:, i]),
            )
            for i, c in enumerate(columns[:MOST_CORRELATED])
            if not np.isnan(real[:, i]).all()
        ]
    cut = "" if len(columns) <= MOST_CORRELATED else f" The first {MOST_CORRELATED} of {len(columns)} columns."
    words = (
        " Of words the most common one and its share." if any(levels_of(schema, i) for i in range(len(columns))) else ""
    )
    caption = "R²: the share of a column's variance that reconstruction explains; 0 is no better than its mean."
    caption += words + cut
    return table(("column", "R²", "rows: mean ± deviation", "generated"), body, caption=caption, class_="numbers")


def levels_of(schema: Schema, column: int) -> tuple[str, ...]:
    """Return the words of a column of words, else nothing."""
    return getattr(schema.kinds[column], "levels", ()) if schema.kinds else ()


def shown_cell(schema: Schema, column: int, value: float | np.floating) -> str:
    """Return a cell as the user has it: a word, or four figures of a number."""
    levels = levels_of(schema, column)
    return short(levels[int(value)]) if levels and not np.isnan(value) else number(value)


def common(levels: Sequence[str], values: Numbers) -> str:
    """Return the most common word of a column with its share."""
    seen = values[~np.isnan(values)].astype(int)
    times = np.bincount(seen, minlength=len(levels))
    return f"{short(levels[int(times.argmax())])}, {times.max() / max(1, len(seen)):.0%}"


def number(value: float | np.floating) -> str:
    """Return four figures of a number, NaN as an empty cell."""
    return "" if np.isnan(value) else f"{value:.4g}"


def extremes(m: Measured, seen: Seen) -> Html:
    """The cells of the least likely rows, with those in the middle and the most likely to compare."""
    groups, x = seen.extremes(), flat(seen.inputs)
    r = flat(m.reconstructed(list(range(len(x)))))
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.abs(x - r) / np.nanstd(x, 0)
    apart = np.where(np.isfinite(apart), apart, -1.0)
    columns = names(m.run.schema)
    # of a wide table, the columns in which the least likely rows are furthest from their reconstructions
    worst = apart[groups[LEAST]].max(0)
    shown = np.sort(np.argsort(-worst, kind="stable")[:MOST_COLUMNS])
    body = []
    for name, picked in groups.items():
        for i in picked if name == LEAST else picked[:COMPARED]:
            cells = [shown_cell(m.run.schema, c, x[i, c]) for c in shown]
            marked = [element("mark", cell) if c == apart[i].argmax() else cell for c, cell in zip(shown, cells)]
            body.append((seen.name(i), f"{seen.scores[i]:,.2f}", name, *marked))
    head = (seen.called, "nats", "which", *(columns[c] for c in shown))
    caption = "The least likely rows, then some from the middle and of the most likely to compare"
    few = f" The {MOST_COLUMNS} columns that stand out most are shown." if len(columns) > len(shown) else ""
    marks = f"Marked: the cell furthest from its reconstruction, in deviations of its column.{few}"
    return joined((table(head, body, caption=caption, class_="numbers"), paragraph(marks)))


def decoded_plane(m: Measured, along: Tensor) -> Html:
    """Contours of E[x | z] over the plane of two latents, for the columns that vary most over it."""
    columns = names(m.run.schema)
    values = flat(m.run.decode(plane(along)))
    spread = values.std(0)
    if m.seen is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = spread / np.nanstd(flat(m.seen.inputs), 0)
    spread = np.where(np.isfinite(spread), spread, -1)
    shown: Sequence[int] = np.argsort(-spread, kind="stable")[:MOST_MAPS].tolist()
    side = len(along)

    def paint(figure: Figure) -> None:
        across = min(2, len(shown))
        axes = figure.subplots(-(-len(shown) // across), across, squeeze=False, sharex=True, sharey=True).flat
        for axis in axes[len(shown) :]:
            axis.set_axis_off()
        for axis, c in zip(axes, shown):
            field = values[:, c].reshape(side, side)[::-1]
            flat_field = np.ptp(field) <= 1e-9 * max(1.0, float(np.abs(field).max()))
            if flat_field:  # one value everywhere has no contours
                axis.text(0.5, 0.5, f"{number(field[0, 0])} everywhere", ha="center", transform=axis.transAxes)
            else:
                filled = axis.contourf(along[:, 0], along[:, 1], field, levels=9, cmap="cividis")
                figure.colorbar(filled, ax=axis, aspect=16)
            axis.set_title(short(columns[c]), loc="left")
        figure.supxlabel("z1", fontsize=9)
        figure.supylabel("z2", fontsize=9)

    what = ", ".join(columns[c] for c in shown)
    caption = "E[x | z] in the units of the data, for the columns that vary most over the plane of the latents."
    return picture(
        svg(paint, height=4.0 if len(shown) > 2 else 2.2),
        f"Contour maps of {what}",
        caption,
        kind="svg+xml",
        class_="chart",
    )
