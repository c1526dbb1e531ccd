"""Rows with what is known about them."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError, UsageError
from .fields import Levels
from .scaling import centre, fit, fit_fields
from .schema import Schema
from .stored import Stored
from .words import count, show

FEWEST_ROWS = 10
# in model units: its square over the smallest variance that a part can learn, e^-20, in 10^5 entries is within float32
LARGEST = 1e12


@dataclass(frozen=True, eq=False)
class Dataset:
    """N rows as the user has them, their schema, and what was decided on the way.

    x         (N, *shape): uint8 (8-bit images), int32 (16-bit images), else float64, NaN where unobserved
    observed  bool (N, *shape), or None where every entry is observed; made of the NaN of x if it is not given
    labels    (N,) or None; ids (N,) or None: names of the rows, as the user gave them, or of their files
    numbers   (N,) where each row stood in its source, from 1; None where they are 1..N
    condition (N, C) float, what p and q are given beside x, or None; given: name -> (N,), the columns that say it
    test      the official test part, if there is one
    store     the cache on the disk that x, observed and numbers are read from; None where they are in memory
    notes     what was decided and why, one sentence each

    >>> digits = data.open_source("digits")
    >>> len(digits), digits.take([0, 1]).x.shape
    (1797, torch.Size([2, 8, 8]))
    """

    x: Tensor
    schema: Schema
    observed: Tensor | None = None
    labels: NDArray[Any] | None = None
    ids: NDArray[Any] | None = None
    numbers: NDArray[np.int64] | None = None
    condition: Tensor | None = None
    given: dict[str, NDArray[Any]] | None = None
    test: Dataset | None = None
    store: Stored | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.store is not None or not self.x.is_floating_point() or not bool((nan := self.x.isnan()).any()):
            return
        if self.observed is None:
            object.__setattr__(self, "observed", ~nan)
        elif bool((nan & self.observed).any()):  # it would be taken for an observed 0
            bad = (nan & self.observed).flatten(1)
            raise DataError(
                f"{self.schema.name}: {count(int(bad.sum()), 'NaN')} in x where the mask says that it was observed, "
                f"first in row {int(bad.any(1).nonzero()[0]) + 1}. Let observed be False there, or leave it out."
            )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.x)

    @property
    def observed_model(self) -> Tensor | None:
        """The mask in the model's layout, (N, *model_shape)."""
        return None if self.observed is None else self.schema.arrange(self.observed)

    @property
    def row_numbers(self) -> NDArray[np.int64]:
        """Where each row stood in its source, from 1: (N,)."""
        return np.arange(1, len(self) + 1) if self.numbers is None else self.numbers

    @property
    def names(self) -> NDArray[Any]:
        """What to call each row: its id where it has one, else its number in its source: (N,)."""
        return self.row_numbers if self.ids is None else self.ids

    def blocks(self) -> Iterator[Tensor]:
        """Go through x in blocks that fit into memory: whole where it is there already."""
        return iter([self.x]) if self.store is None else self.store.blocks(self.x)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, type, values and name, in hexadecimal: equal for equal rows in equal order."""
        total = hashlib.sha256(f"{tuple(self.x.shape)} {self.x.dtype} {self.schema.name}\n".encode())
        for block in self.blocks():
            for rows in block.split(4096):
                total.update(rows.contiguous().numpy().tobytes())
        return total.hexdigest()

    def carried(self) -> dict[str, NDArray[Any]]:
        """Return what goes with the rows into any output: "id" (else their numbers) and "label", (N,), where known."""
        known = {"id": self.numbers if self.ids is None else self.ids, "label": self.labels}
        return {name: values for name, values in known.items() if values is not None}

    def describe(self) -> str:
        """Return the lines that a dry run shows: the data, the test part, the notes."""
        lines = [f"data     {self.schema.name}   {count(len(self), 'row')}, {self.schema.describe()}"]
        if self.test is not None:
            lines.append(f"test     {count(len(self.test), 'row')} (official)")
        return "\n".join([*lines, *(f"note     {note}" for note in self.notes)])

    def take(self, indices: Tensor | NDArray[Any] | Sequence[int] | slice) -> Dataset:
        """Return the rows with these indices (or where a mask is true), without the test part.

        A slice of rows on the disk stays there; other choices of them come into memory.
        """
        picked = indices if isinstance(indices, slice) else torch.as_tensor(indices)
        where = picked if isinstance(picked, slice) else picked.numpy()
        return replace(
            self,
            x=self.x[picked],
            observed=None if self.observed is None else self.observed[picked],
            labels=None if self.labels is None else self.labels[where],
            ids=None if self.ids is None else self.ids[where],
            numbers=self.row_numbers[where],
            condition=None if self.condition is None else self.condition[picked],
            given=None if self.given is None else {name: column[where] for name, column in self.given.items()},
            test=None,
            store=self.store if isinstance(indices, slice) else None,
        )

    def split(self, validation: float | int, seed: int) -> tuple[Dataset, Dataset | None]:
        """Split into training and validation rows by a random permutation that depends on `seed` alone.

        Rows on the disk are in random order already: their first ones are held out, whatever the seed.

        validation: a fraction in (0, 1), a number of rows, or 0 for none. Training keeps the test part.
        Raises UsageError for another value, DataError if fewer than 10 rows are left to train on.
        """
        held = self._held_out(validation)
        if len(self) - held < FEWEST_ROWS:
            left = len(self) - held
            few = f"{left:,} {'sample is' if left == 1 else 'samples are'} too few to train"
            why = f" after {held:,} of {len(self):,} went to validation" if held else ""
            raise DataError(f"{few}{why} (need at least {FEWEST_ROWS}; got {left:,}).")
        if not held:
            return self, None
        if self.store is not None:
            return replace(self.take(slice(held, None)), test=self.test), self.take(slice(held))
        shuffled = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return replace(self.take(shuffled[held:]), test=self.test), self.take(shuffled[:held])

    def _held_out(self, validation: float | int) -> int:
        if isinstance(validation, bool) or not isinstance(validation, (int, float)) or not validation >= 0:
            raise UsageError(f"validation is {validation!r}: expected a fraction in (0, 1), a number of rows, or 0.")
        if validation >= 1 and validation != int(validation):
            raise UsageError(f"validation is {validation}: a fraction is below 1, a number of rows is whole.")
        if isinstance(validation, float) and validation == 1.0:
            raise UsageError("validation is 1.0: that leaves no row to train on. Use a fraction below 1, or a count.")
        if validation >= 1 and validation >= len(self) > 1:
            raise UsageError(f"validation is {validation:,} rows of {len(self):,}: none is left to train on.")
        if validation < 1:
            # one row alone goes to training, so that the message counts what the user has
            return max(1, round(validation * len(self))) if validation > 0 and len(self) > 1 else 0
        return int(validation) if len(self) > 1 else 0

    def fit_scaling(self) -> Dataset:
        """Standardise real columns and entries by the mean and deviation (divisor N) of these rows.

        Returns the same rows (and test part) under a schema with fitted loc and scale. Real images are centred, their
        scale stays the top of their grid; binary and integer values stay as they are. Use it on the training rows,
        then `valid.with_schema(train.schema)`.
        Raises DataError if a standardised value would not fit into float32.
        """
        if self.schema.values not in ("real", "mixed"):
            return self
        how = fit_fields if self.schema.kinds else centre if self.schema.layout == "image" else fit
        schema, notes = how(self.blocks, self.schema)
        fitted = replace(self, schema=schema, notes=(*self.notes, *notes))
        return replace(fitted, test=None if self.test is None else self.test.with_schema(schema)).checked()

    def with_schema(self, schema: Schema) -> Dataset:
        """Return these rows in the units of another schema. Raises DataError if one is too large."""
        return replace(self, schema=schema).checked()

    def checked(self, source: str | None = None) -> Dataset:
        """Return this data set. Raises DataError, naming source and row, if an encoded value is too large."""
        if self.schema.values in ("real", "mixed") and self.x.dtype == torch.float64:
            schema, before = self.schema, 0
            for x in self.blocks():
                encoded = schema.encode(x, dtype=torch.float64) if schema.kinds else (x - schema.loc) / schema.scale
                bad = torch.nonzero(encoded.abs() > LARGEST)
                if len(bad):
                    row, *index = bad[0].tolist()
                    where = f"{self.schema.entry(tuple(index))} row {self.row_numbers[before + row]}"
                    got = f"{x[tuple(bad[0])].item():g}"
                    file = source or self.schema.name
                    raise DataError(f"{file}: {where} is {got}, beyond float32 in model units. Correct or rescale it.")
                before += len(x)
        return self


def as_real(data: Dataset) -> Dataset:
    """Return the same rows (and test part) with real values: images divided by the top of their grid.

    For models of real numbers: every kept column or pixel is then real for ever, with loc 0 and scale `high`
    (1 for tables and arrays). `fit_scaling` then centres images, and standardises tables and arrays.

    >>> data.as_real(data.open_source("digits")).schema.values
    'real'
    """
    schema = data.schema
    if schema.values == "real":
        return data
    if schema.kinds:
        words = [name for name, field in zip(schema.columns or (), schema.kinds) if isinstance(field, Levels)]
        if words:
            raise DataError(
                f"{schema.name}: column {show(words[0])} holds words, but this model is one of real numbers. "
                f"Leave it out with --drop {shlex.quote(','.join(words))}."
            )
    top = float(schema.high or 1) if schema.layout == "image" else 1.0
    real = schema.replace(
        values="real",
        binarize=None,
        fields=None,
        loc=torch.zeros((), dtype=torch.float64),
        scale=torch.tensor(top, dtype=torch.float64),
    )
    return replace(data, schema=real, test=None if data.test is None else as_real(data.test))


def as_rows_of(schema: Schema, data: Dataset) -> Dataset:
    """Return rows under the schema of a model, where they were read under their own. UsageError for another shape.

    >>> digits = data.open_source("digits")
    >>> data.as_rows_of(data.as_real(digits).schema, digits).schema.values
    'real'
    """
    if schema.values == "real" and data.schema.values != "real":
        data = as_real(data)
    if data.schema.shape != schema.shape:
        raise UsageError(f"these rows have shape {data.schema.shape}, the model was trained on {schema.shape}.")
    return replace(data, schema=schema, test=None)
