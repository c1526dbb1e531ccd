"""The section on the latent space: the decoded plane, the map of codes, traversals."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.distributions import Independent, Normal

from ..distributions import draw
from ..evaluation.collapse import ACTIVE
from ..models import VAE
from ..noise import Noise, stream
from ..part import inference
from . import charts, images, tables
from .markup import Html, element, joined, paragraph, picture
from .measure import Measured, Seen
from .places import decodes, levels, prior_quantiles

MAP_DRAWS = 1000


def latents(m: Measured) -> Html | None:
    """What the latents hold: of two the whole plane; of more the two, and the lines, that carry most."""
    model, seen = m.run.model, m.seen
    parts: list[Html | None] = []
    size = model.prior.latent_dim if seen is None and isinstance(model, VAE) else None
    count = int(size) if size is not None else 0 if seen is None else seen.codes.shape[1]  # type: ignore[arg-type]
    order = np.arange(count) if seen is None else informative(seen)
    if seen is not None:
        parts.append(
            _one(m, seen) if count == 1 else _map(m, seen, (0, 1) if count == 2 else (int(order[0]), int(order[1])))
        )
    if not decodes(model):
        parts.append(paragraph("This model does not decode z alone, so no decodes are shown."))
    elif m.run.schema.layout == "image":
        if count == 2 and (m.bounded or seen is not None):
            parts.append(images.decoded_plane(m))
        elif seen is not None:
            parts.append(images.traversals(m, order.tolist()))
    elif count == 2 and (m.bounded or seen is not None):
        codes = None if m.bounded or seen is None else seen.codes
        parts.append(tables.decoded_plane(m, prior_quantiles(model, codes, levels(25))))  # type: ignore[arg-type]
    shown = [part for part in parts if part is not None]
    return element("div", *shown, class_="side" if count == 2 else None) if shown else None


def informative(seen: Seen) -> NDArray[np.intp]:
    """Return the latents by their KL, largest first; by the variance of their codes where q does not factorise."""
    kl = seen.judged.kl_per_dimension
    by = np.asarray(kl) if kl is not None and len(kl) == seen.codes.shape[1] else seen.codes.var(0)
    return np.argsort(-by, kind="stable")


def colouring(seen: Seen) -> tuple[NDArray[Any], str]:
    """Return what colours the map: the labels, the rarest of many as "other"; without labels log p(x)."""
    labels = seen.data.labels
    if labels is None or len({str(label) for label in labels}) < 2:
        return seen.scores, "log p(x), nats" if seen.judged.elbo is not None else "log p(x | z), nats"
    labels = np.asarray(labels)
    labels = labels if labels.dtype.kind in "biuf" else labels.astype(str)
    values, counts = np.unique(labels, return_counts=True)
    if labels.dtype.kind not in "biuf" and len(values) > charts.MOST_CLASSES:
        kept = values[np.argsort(-counts, kind="stable")[: charts.MOST_CLASSES - 1]]
        return np.where(np.isin(labels, kept), labels, "other"), "label"
    return labels, "label"


def _map(m: Measured, seen: Seen, dims: tuple[int, int]) -> Html:
    colour, what = colouring(seen)
    prior = prior_of(m, dims) if m.bounded else None
    under = {True: " Dotted: the circles that hold 50 %, 90 % and 99 % of the prior.", False: " Grey: draws from p(z)."}
    caption = (
        f"Where the {len(seen.codes):,} rows lie: the mean of q(z | x) in "
        + ("the two latents" if seen.codes.shape[1] == 2 else "the two most informative latents")
        + f", coloured by {what.removesuffix(', nats')}."
        + ("" if prior is None else under[isinstance(prior, tuple)])
    )
    alt = f"Scatter plot of posterior means in z{dims[0] + 1} and z{dims[1] + 1}, coloured by {what}"
    shown = charts.code_map(seen.codes, dims, colour, prior, what)
    return picture(shown, alt, caption, kind="svg+xml", class_="chart")


def prior_of(m: Measured, dims: tuple[int, int]) -> tuple[float, float] | NDArray[np.float64] | None:
    """Return (loc, scale) of a prior that is one round Gaussian, else draws of it in two dimensions."""
    model = m.run.model
    if not decodes(model) or not isinstance(model, VAE):
        return None
    with inference(model):
        p = model.prior_at()
        inner = p.base_dist if isinstance(p, Independent) else p
        if isinstance(inner, Normal) and len(inner.loc.unique()) == len(inner.scale.unique()) == 1:
            return inner.loc.flatten()[0].item(), inner.scale.flatten()[0].item()
        z = draw(p.expand(torch.Size([MAP_DRAWS])), 1, Noise(stream(0, "map")))[0]
        return z[:, list(dims)].double().cpu().numpy()


def _one(m: Measured, seen: Seen) -> Html:
    density, prior = None, prior_of(m, (0, 0)) if m.bounded else None
    if isinstance(prior, tuple):
        z = np.linspace(prior[0] - 3.5 * prior[1], prior[0] + 3.5 * prior[1], 200)
        density = (z, np.exp(-0.5 * ((z - prior[0]) / prior[1]) ** 2) / (prior[1] * np.sqrt(2 * np.pi)))
    caption = f"Where the {len(seen.codes):,} rows lie on the one latent." + (" Line: the prior." if density else "")
    shown = charts.one_latent(seen.codes[:, 0], density)
    return picture(shown, "Histogram of the posterior means", caption, kind="svg+xml", class_="chart")


def kl_per_dimension(seen: Seen) -> Html:
    """KL per latent dimension, sorted, the active ones marked; in words where q does not factorise."""
    variance = seen.codes.var(0)
    active = variance > ACTIVE
    kl = seen.judged.kl_per_dimension
    if kl is None or len(kl) != len(variance):
        why = "has no density" if kl is None else "does not factorise"
        values = ", ".join(f"z{d + 1} {v:.3g}" for d, v in enumerate(variance))
        return paragraph(f"q(z | x) {why}, so there is no KL per dimension. Variance of the codes: {values}.")
    sorted_kl = sorted(kl, reverse=True)
    listed = ", ".join(f"{v:.2f}" for v in sorted_kl[:32]) + (", ..." if len(kl) > 32 else "")
    alt = f"Bar chart of KL per latent dimension in nats, largest first: {listed}"
    caption = (
        f"{active.sum()} of {len(kl)} latents are active: the mean of q(z | x) varies from row to row (variance above "
        f"{ACTIVE}). Their KL is the information that they carry, in nats."
    )
    shown = charts.kl_bars(np.asarray(kl), active)
    return joined((picture(shown, alt, caption, kind="svg+xml", class_="chart"),))
