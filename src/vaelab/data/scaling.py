"""Location and scale of real columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ..errors import DataError
from .schema import Schema

# below this share of its own size, a column's spread is rounding noise and would be blown up to unit variance
SMALLEST_RELATIVE_SPREAD = 1e-8


Blocks = Callable[[], Iterable[Tensor]]  # goes through x (N, *shape), as often as it is asked


def fit(blocks: Blocks, schema: Schema) -> tuple[Schema, tuple[str, ...]]:
    """Return the schema with loc = mean and scale = standard deviation (divisor N) of the observed entries.

    x (N, *shape) float64, NaN where unobserved. A scale never falls below 1e-8 |mean|; an entry that does not
    vary at 0 (or is never observed) has scale 1. The notes name such columns, and those that vary in one row.
    Raises DataError where the sums overflow float64.
    """
    number, total = torch.zeros(schema.shape, dtype=torch.int64), torch.zeros(schema.shape, dtype=torch.float64)
    low, high = torch.full(schema.shape, math.inf).double(), torch.full(schema.shape, -math.inf).double()
    for x in blocks():
        seen = ~torch.isnan(x)
        number += seen.sum(0)
        total += torch.nansum(x, 0)
        low = torch.minimum(low, torch.where(seen, x, math.inf).amin(0))
        high = torch.maximum(high, torch.where(seen, x, -math.inf).amax(0))
    number = number.clamp(min=1)
    loc = total / number
    squares, lows, highs = torch.zeros_like(loc), torch.zeros_like(number), torch.zeros_like(number)
    for x in blocks():
        squares += torch.where(~torch.isnan(x), x - loc, 0.0).square().sum(0)
        lows += (x == low).sum(0)
        highs += (x == high).sum(0)
    scale = (squares / number).sqrt()
    overflow = torch.nonzero(~torch.isfinite(scale))
    if len(overflow):
        place = tuple(overflow[0].tolist())
        entry, largest = schema.entry(place), max(abs(low[place].item()), abs(high[place].item()))
        raise DataError(f"{schema.name}: {entry} holds {largest:g}, too large to square in float64. Rescale it.")
    floor = SMALLEST_RELATIVE_SPREAD * loc.abs()
    flat = scale <= floor
    # all but one of the observed values are equal: they are then the lowest, or the highest
    lone = (low < high) & ((lows == number - 1) | (highs == number - 1))
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


def fit_fields(blocks: Blocks, schema: Schema) -> tuple[Schema, tuple[str, ...]]:
    """Return the schema of a mixed table with each field fitted to these rows (N, columns), NaN where unobserved."""
    fields = [field.fit(torch.cat([x[:, i] for x in blocks()])) for i, field in enumerate(schema.kinds)]
    return schema.replace(fields=nn.ModuleList(fields)), ()


def centre(blocks: Blocks, schema: Schema) -> tuple[Schema, tuple[str, ...]]:
    """Return the schema with loc = the mean image; the scale stays, so the nats of the model do not move."""
    total, number = torch.zeros(schema.shape, dtype=torch.float64), 0
    for x in blocks():
        for rows in x.split(4096):
            total += rows.double().sum(0)
        number += len(x)
    return schema.replace(loc=total / number), ()
