"""Pictures of what a model does with images, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .data import Dataset, Schema
from .training import Rows

if TYPE_CHECKING:
    from .run import Run


def strips(title: str, rows: Mapping[str, Tensor], schema: Schema, *, columns: int) -> bytes:
    """Return a picture with one titled block of images per entry, `columns` to a line, on one grey or colour scale.

    Each tensor is (n, *schema.shape) in the user's units; black is the lowest value of the grid (or of the rows).
    """
    from matplotlib.figure import Figure

    blocks = {name: tiled(images, schema, columns, limits(images, schema)) for name, images in rows.items()}
    heights = [block.shape[0] / block.shape[1] for block in blocks.values()]
    width = min(12.0, 1.2 + 0.7 * columns)
    figure = Figure(figsize=(width, width * sum(heights) + 0.45 * len(blocks) + 0.4), dpi=110, layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(len(blocks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (name, block) in zip(axes, blocks.items()):
        axis.imshow(block, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(name, fontsize=9, loc="left")
        axis.axis("off")
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def limits(images: Tensor, schema: Schema) -> tuple[float, float]:
    """Return what is black and what is white: the ends of the grid, or of these images where values are real."""
    if schema.values != "real":
        return schema.grid
    seen = images[~images.isnan()]
    return seen.min().item(), seen.max().item()


def tiled(images: Tensor, schema: Schema, columns: int, scale: tuple[float, float]) -> NDArray[np.float64]:
    """Return the images side by side, on 0..1, with a light line between them; an incomplete last line is left out."""
    x = images.double().cpu().numpy()
    low, high = scale
    x = np.clip((x - low) / max(high - low, 1e-12), 0, 1)
    colour = x.ndim == 4 and x.shape[-1] == 3
    x = x if colour or x.ndim == 3 else x[..., 0]
    edge = [(0, 0), (0, 1), (0, 1)] + ([(0, 0)] if colour else [])
    x = np.pad(x, edge, constant_values=1.0)
    lines = [
        np.concatenate(list(x[i : i + columns]), axis=1) for i in range(0, len(x) - len(x) % columns or len(x), columns)
    ]
    return np.concatenate(lines, axis=0)


def inputs_as_seen(data: Dataset) -> Tensor:
    """Return rows as the model sees them (binarised, where they are), in the user's units."""
    return data.schema.decode(Rows(data).drawn(0, shared=True).at(slice(None)).x)


def reconstruction_picture(run: Run, data: Dataset, *, columns: int = 12) -> bytes:
    """Return inputs and, below, what the model makes of them."""
    some = data.take(range(min(2 * columns, len(data))))
    return strips(
        f"{run.schema.name}: {run.meta.get('recipe', 'model')}",
        {
            "inputs": inputs_as_seen(some),
            "reconstructions, E[x | z] over z from q(z | x)": run.reconstruct(some),
        },
        run.schema,
        columns=columns,
    )


def path_picture(found: Tensor, schema: Schema, steps: int) -> bytes:
    """Return the images on a path, one line for each stretch from place to place, both ends included."""
    stretches = [found[start : start + steps + 1] for start in range(0, len(found) - 1, steps)]
    return strips(
        f"{schema.name}: E[x | z] on the way",
        {f"from place {i + 1} to place {i + 2}": images for i, images in enumerate(stretches)},
        schema,
        columns=steps + 1,
    )


def overview_picture(run: Run, *, columns: int = 12, seed: int = 0) -> bytes:
    """Return inputs, reconstructions, draws and means of a run, in one picture."""
    data, split = run.data()
    some = data.take(range(min(columns, len(data))))
    return strips(
        f"{run.schema.name}: {run.meta.get('recipe', 'model')}, {split} rows",
        {
            "inputs": inputs_as_seen(some),
            "reconstructions, E[x | z] over z from q(z | x)": run.reconstruct(some),
            "new: draws z from p(z), x from p(x | z)": run.generate(2 * columns, seed=seed),
            "new: means E[x | z] of the same z": run.generate(2 * columns, seed=seed, means=True),
        },
        run.schema,
        columns=columns,
    )
