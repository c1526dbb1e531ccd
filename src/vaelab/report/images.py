"""Pictures made of the rows of image data: sheets of tiles, on one scale of grey or colour."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..data import Schema
from ..data.write_images import SMALLEST_TILE, png
from ..pictures import limits, tiled
from .markup import Html, element, joined, paragraph, picture, table
from .measure import Measured, Seen
from .places import SIDE, levels, plane, prior_quantiles

ACROSS = 10
MOST_TRAVERSALS = 6


def sheet(images: Tensor, schema: Schema, columns: int, scale: tuple[float, float]) -> bytes:
    """Return a PNG of images (n, *shape) side by side, `columns` to a line; `scale` is black and white."""
    pixels = tiled(images.nan_to_num(nan=scale[0]), schema, columns, scale)
    factor = max(1, math.ceil(SMALLEST_TILE / max(schema.shape[:2])))
    return png(np.rint(255 * pixels).astype(np.uint8).repeat(factor, 0).repeat(factor, 1))


def pairs(m: Measured, picked: list[int]) -> Tensor:
    """Return these inputs, `ACROSS` to a line, each line followed by the line of their reconstructions."""
    assert m.seen is not None
    both = m.seen.inputs[picked], m.reconstructed(picked)
    lines = [slice(i, i + ACROSS) for i in range(0, len(picked), ACROSS)]
    return torch.cat([part[line] for line in lines for part in both])


def samples(m: Measured) -> Html:
    """Inputs with their reconstructions, then draws from the model and the means behind them."""
    schema, out = m.run.schema, []
    if m.seen is not None:
        scale, number = limits(m.seen.inputs, schema), min(2 * ACROSS, len(m.seen.inputs))
        number -= number % ACROSS if number > ACROSS else 0
        across = min(number, ACROSS)
        shown = sheet(pairs(m, list(range(number))), schema, across, scale)
        alt = f"{number} {m.seen.split} images, each above its reconstruction"
        out.append(
            picture(shown, alt, "Inputs, and below each line what the model makes of it: E[x | z].", class_="pixels")
        )
    if m.drawn is not None and m.means is not None:
        untrained = "" if m.bounded else " The prior took no part in the training of this model."
        scale = limits(m.drawn if m.seen is None else m.seen.inputs, schema)
        for rows, what, caption in (
            (m.drawn, "new images drawn from the model", f"New: z drawn from p(z), then x from p(x | z).{untrained}"),
            (m.means, "means of the same new images", "The same z, E[x | z] in place of the draw: no sample."),
        ):
            out.append(picture(sheet(rows, schema, ACROSS, scale), f"{len(rows)} {what}", caption, class_="pixels"))
    return element("div", *out, class_="side")


def extremes(m: Measured, seen: Seen) -> Html:
    """The least likely rows, those in the middle and the most likely, above their reconstructions."""
    out = []
    for name, picked in seen.extremes().items():
        shown = sheet(pairs(m, picked), m.run.schema, len(picked), limits(seen.inputs, m.run.schema))
        values = f"{seen.scores[picked[0]]:,.2f} to {seen.scores[picked[-1]]:,.2f} nats"
        alt = f"{len(picked)} {name} images above their reconstructions, {values}"
        listed = ", ".join(f"{seen.name(i)} ({seen.scores[i]:,.2f})" for i in picked)
        caption = joined((element("strong", name.capitalize()), f", {seen.called} and nats: {listed}."))
        out.append(picture(shown, alt, caption, class_="pixels"))
    return element("div", *out, class_="side")


def decoded_plane(m: Measured) -> Html:
    """E[x | z] over the plane of two latents, at equal steps of probability."""
    model, schema = m.run.model, m.run.schema
    codes = None if m.bounded or m.seen is None else m.seen.codes
    along = prior_quantiles(model, codes, levels())  # type: ignore[arg-type]
    images = m.run.decode(plane(along))
    low, high = along[0].tolist(), along[-1].tolist()
    what = "p(z)" if codes is None else "the codes"
    caption = (
        f"E[x | z] over the plane: z1 from {low[0]:.2f} (left) to {high[0]:.2f}, z2 from {low[1]:.2f} (below) to "
        f"{high[1]:.2f}, at equal steps of probability under {what}."
    )
    alt = f"Grid of {SIDE} by {SIDE} decoded images over the two latent dimensions"
    return picture(sheet(images, schema, SIDE, limits(images, schema)), alt, caption, class_="pixels tall")


def traversals(m: Measured, dimensions: list[int]) -> Html:
    """One line of decodes for each of these dimensions, which moves over its quantiles while the others stay."""
    model, schema, seen = m.run.model, m.run.schema, m.seen
    assert seen is not None
    middle = int(seen.order[len(seen.order) // 2])
    codes = None if m.bounded else seen.codes
    along = prior_quantiles(model, codes, levels(11))  # type: ignore[arg-type]
    scale, kl, rows = limits(seen.inputs, schema), seen.judged.kl_per_dimension, []
    for d in dimensions[:MOST_TRAVERSALS]:
        z = torch.from_numpy(seen.codes[middle]).repeat(len(along), 1)
        z[:, d] = along[:, d]
        line = sheet(m.run.decode(z), schema, len(along), scale)
        alt = f"Decodes as z{d + 1} moves from {along[0, d]:.2f} to {along[-1, d]:.2f}"
        said = f" {kl[d]:.2f} nats" if kl is not None and len(kl) == seen.codes.shape[1] else ""
        rows.append((joined((f"z{d + 1}", element("span", said, class_="soft"))), picture(line, alt, class_="pixels")))
    under = "p(z)" if codes is None else "the codes"
    caption = (
        f"Each line starts from the code of {seen.called} {seen.name(middle)}, the median row, and moves one dimension "
        f"through the quantiles of {under} from {levels(11)[0]:.3f} to {levels(11)[-1]:.3f}."
    )
    return joined(
        (paragraph(caption), table((), rows, caption="Traversals, the most informative first", class_="traversals"))
    )
