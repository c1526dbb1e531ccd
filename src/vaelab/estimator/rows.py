"""Arrays of floats as the rows of a model: real numbers, or what the likelihood asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data import Dataset, Schema
from ..data.arrays import grid_of, under
from ..data.schema import Values
from ..data.words import show
from ..errors import DataError
from ..parts import parse

NAME = "X"


def training_rows(x: NDArray[Any], names: tuple[str, ...], likelihood: str | None) -> Dataset:
    """Return rows (N, D) to train on: real numbers wherever the likelihood can take them, whatever the numbers are.

    A likelihood of 0/1, of integers or of counts gets these, the grid being the values that occur. Raises DataError for
    a column without a value.
    """
    for empty in np.flatnonzero(np.isnan(x).all(0)):
        raise DataError(f"{NAME}: column {show(names[empty])} has no value in any row. Leave it out.")
    kind: tuple[Values, int | None, int | None] = ("real", None, None)
    if likelihood is not None and "real" not in parse("likelihood", likelihood).part.values:
        seen = x[~np.isnan(x)]
        kind = grid_of(x, bool((seen == seen.round()).all()))
    values, low, high = kind
    schema = Schema(name=NAME, layout="table", shape=x.shape[1:], values=values, low=low, high=high, columns=names)
    return Dataset(_tensor(x), schema)


def new_rows(x: NDArray[Any], schema: Schema) -> Dataset:
    """Return rows (N, D) as new data for a model. Raises DataError naming the first that it cannot take."""
    return under(schema, Dataset(_tensor(x), schema), NAME)


def _tensor(x: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(x, dtype=np.float64, order="C"))  # a copy: x may be read-only
