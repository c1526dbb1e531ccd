"""Location and scale of real columns."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import DataError
from .schema import Schema

# below this share of its own size, a column's spread is rounding noise and would be blown up to unit variance
SMALLEST_RELATIVE_SPREAD = 1e-8


def fit(x: Tensor, schema: Schema) -> tuple[Schema, tuple[str, ...]]:
    """Return the schema with loc = mean and scale = standard deviation (divisor N) of the observed entries.

    x (N, *shape) float64, NaN where unobserved. A scale never falls below 1e-8 |mean|; an entry that does not
    vary at 0 (or is never observed) has scale 1. The notes name such columns, and those that vary in one row.
    Raises DataError where the sums overflow float64.
    """
    seen = ~torch.isnan(x)
    number = seen.sum(0).clamp(min=1)
    loc = torch.nansum(x, 0) / number
    squares = torch.where(seen, x - loc, 0.0).square()
    scale = (squares.sum(0) / number).sqrt()
    overflow = torch.nonzero(~torch.isfinite(scale))
    if len(overflow):
        entry = schema.entry(tuple(overflow[0].tolist()))
        largest = torch.nan_to_num(x[(slice(None), *overflow[0].tolist())]).abs().max().item()
        raise DataError(f"{schema.name}: {entry} holds {largest:g}, too large to square in float64. Rescale it.")
    floor = SMALLEST_RELATIVE_SPREAD * loc.abs()
    flat = scale <= floor
    # all but one of the observed values are the median
    lone = ((x != x.nanmedian(0).values) & seen).sum(0) == 1
    notes = [
        *(
            f"{schema.entry(tuple(i))} hardly varies in the training rows; its scale has a floor."
            for i in flat.nonzero().tolist()
        ),
        *(f"{schema.entry(tuple(i))} is constant but for one training row." for i in (lone & ~flat).nonzero().tolist()),
    ]
    if len(notes) > 5:
        notes = [*notes[:4], f"... and {len(notes) - 4} more columns hardly vary."]
    scale = torch.where(flat, torch.where(scale > 0, floor, 1.0), scale)
    return schema.replace(loc=loc, scale=scale), tuple(notes)


def fit_fields(x: Tensor, schema: Schema) -> tuple[Schema, tuple[str, ...]]:
    """Return the schema of a mixed table with each field fitted to these rows (N, columns), NaN where unobserved."""
    fields = [field.fit(column) for field, column in zip(schema.kinds, x.unbind(1))]
    return schema.replace(fields=nn.ModuleList(fields)), ()


def centre(x: Tensor, schema: Schema) -> tuple[Schema, tuple[str, ...]]:
    """Return the schema with loc = the mean image; the scale stays, so the nats of the model do not move."""
    total = torch.zeros(schema.shape, dtype=torch.float64)
    for rows in x.split(4096):
        total += rows.double().sum(0)
    return schema.replace(loc=total / len(x)), ()
