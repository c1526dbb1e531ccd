"""Figures 2 to 5 in the layout of the paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..experiments.picture import BLUE, GREEN, GREY, ORANGE, VERMILION, png
from ..noise import Noise
from ..part import inference
from .base import Item, Pictures, Results
from .unit import Found, trained

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Name = Callable[[bool, int, str], str]
STYLES = {"wake-sleep": ("Wake-Sleep", GREEN), "aevb": ("AEVB", VERMILION), "mcem": ("MCEM", BLUE)}
LONG = 100_000  # samples, from which on the paper draws its curves
GRID, MANY = 15, 64  # images along a side of figure 4, and in a block of figure 5


def curve(axis: Axes, found: Found | None, method: str) -> None:
    """Draw a curve of training rows, dashed, and one of test rows."""
    if found is None or not found.looks:
        return
    label, colour = STYLES[method]
    seen = [look["samples"] for look in found.looks]
    for part, line in (("test", "-"), ("train", "--")):
        axis.plot(seen, [look[part] for look in found.looks], line, color=colour, label=f"{label} ({part})")


def figure_2(panels: Sequence[tuple[bool, int]], results: Results, named: Name) -> bytes:
    """Two rows of panels, MNIST and Frey faces: the bound against the number of training samples evaluated."""

    def paint(figure: Figure) -> None:
        columns = max(sum(binary for binary, _ in panels), sum(not binary for binary, _ in panels))
        axes = figure.subplots(2, columns, squeeze=False)
        for line, wanted in enumerate((True, False)):
            mine = [size for binary, size in panels if binary is wanted]
            for axis, size in zip(axes[line], mine):
                for method in ("wake-sleep", "aevb"):
                    curve(axis, results.get(named(wanted, size, method)), method)
                ours = results.get(named(wanted, size, "ours"))
                if ours is not None and ours.looks:
                    end = ours.looks[-1]
                    axis.plot(end["samples"], end["test"], "o", color=ORANGE, label="our defaults (test)")
                low, high = (-200, -95) if wanted else (0, 1700)  # the paper cuts MNIST off at -150
                frame(axis, f"{'MNIST' if wanted else 'Frey Face'}, $N_z$ = {size}", low, high)
            axes[line][0].set_ylabel("bound, nats per row")
            for axis in axes[line][len(mine) :]:
                axis.axis("off")
        handles: dict[str, Any] = {}
        for axis in axes.flat:
            handles |= dict(zip(*reversed(axis.get_legend_handles_labels())))
        place = axes[1][-1] if columns > sum(not binary for binary, _ in panels) else axes[0][0]
        place.legend(handles.values(), handles.keys(), loc="center", frameon=False)

    return png(paint, 17, 7)


def frame(axis: Axes, title: str, low: float, high: float) -> None:
    """Give a panel the paper's axes, unless nothing would be seen in them."""
    values = [np.asarray(line.get_ydata(), dtype=float) for line in axis.get_lines()]
    if any(((low <= some) & (some <= high)).any() for some in values):
        axis.set_ylim(low, high)
    axis.set_xscale("log")
    most = max((max(np.asarray(line.get_xdata(), dtype=float)) for line in axis.get_lines()), default=math.inf)
    if most >= LONG:
        axis.set_xlim(0.4 * LONG, 1.2 * (most if LONG * 30 < most < math.inf else LONG * 30))
    if not axis.get_lines():
        axis.set_ylim(low, high)
    axis.set_title(title, loc="left")
    axis.grid(True, alpha=0.25, linewidth=0.8)
    axis.set_xlabel("training samples")


def figure_3(results: Results) -> bytes:
    """Two panels, 1,000 and 50,000 training rows: log p(x) against the number of training samples evaluated."""

    def paint(figure: Figure) -> None:
        for axis, rows in zip(figure.subplots(1, 2), (1000, 50_000)):
            for method in STYLES:
                curve(axis, results.get(f"likelihood-{rows}-{method}"), method)
            frame(axis, f"{rows:,} training rows", -160, -125)
            axis.set_ylabel("log p(x), nats per row")
            if axis.get_legend_handles_labels()[0]:
                axis.legend(loc="upper left")

    return png(paint, 12, 4.5)


def figure_4(items: Mapping[str, Item], results: Results, work: Path, named: Name) -> Pictures:
    """Frey faces and MNIST, decoded on a grid of quantiles of the prior; nothing before both are trained."""
    names = [named(False, 2, "aevb"), named(True, 2, "aevb")]
    if not all(name in items and name in results and results[name].samples for name in names):
        return {}
    u = torch.linspace(0.5 / GRID, 1 - 0.5 / GRID, GRID)
    z1, z2 = torch.meshgrid(torch.special.ndtri(u), torch.special.ndtri(1 - u), indexing="xy")
    z = torch.stack([z1, z2], -1).reshape(-1, 2)
    images = [decoded(items[name], work, lambda model: z) for name in names]
    return {"figure-4.png": blocks(images, ["Frey Face manifold", "MNIST manifold"], GRID, 13.0)}


def figure_5(items: Mapping[str, Item], results: Results, work: Path, named: Name) -> Pictures:
    """Draws from the prior of MNIST models with 2, 5, 10 and 20 latents, decoded; nothing before any is trained."""
    sizes = [size for size in (2, 5, 10, 20) if (name := named(True, size, "aevb")) in items
             and name in results and results[name].samples]  # fmt: skip
    if not sizes:
        return {}

    def draws(model: Any) -> Tensor:
        return Noise.seeded(0).normal((MANY, model.latent_dim), torch.zeros(1))

    images = [decoded(items[named(True, size, "aevb")], work, draws) for size in sizes]
    return {"figure-5.png": blocks(images, [f"{size}-D latent space" for size in sizes], 8, 3.6 * len(sizes))}


def decoded(item: Item, work: Path, places: Callable[[Any], Tensor]) -> Tensor | None:
    """Return E[x | z] at some places, (n, H, W); None if the curve was run elsewhere."""
    model: Any = trained(item.unit, work, item.samples)
    if model is None:
        return None
    with inference(model):
        mean = model.decode(places(model).unsqueeze(1)).mean
    return mean.reshape(len(mean), *mean.shape[-2:])


def blocks(images: Sequence[Tensor | None], titles: Sequence[str], columns: int, width: float) -> bytes | None:
    """Return images side by side in one square block for each title; None if some are not here."""
    here = [some for some in images if some is not None]
    if len(here) < len(images):
        return None

    def paint(figure: Figure) -> None:
        for axis, title, some in zip(figure.subplots(1, len(here), squeeze=False)[0], titles, here):
            n, height, breadth = some.shape
            tiles = some.reshape(n // columns, columns, height, breadth).permute(0, 2, 1, 3)
            axis.imshow(tiles.reshape(-1, columns * breadth).clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)
            axis.set_title(title, loc="left", color=GREY)
            axis.axis("off")

    return png(paint, width, width / len(images) + 0.8)
