"""The rows of a source as training and evaluation take them: split, and in the units fitted on the training rows."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from .data import Dataset, Schema, as_real, open_source
from .options import TrainOptions
from .recipes import find

# the options of `train` that `open_source` knows by the same names
SOURCE_OPTIONS = tuple(name for name in TrainOptions.names() if name in inspect.signature(open_source).parameters)


@dataclass(frozen=True)
class Splits:
    """The rows of a source, split and scaled: scaling is fitted on the training rows alone."""

    train: Dataset
    validation: Dataset | None
    test: Dataset | None

    @property
    def schema(self) -> Schema:
        """The schema with the fitted scaling."""
        return self.train.schema

    def under(self, schema: Schema) -> Splits:
        """Return the same rows in the units of a schema."""
        return Splits(self.train.with_schema(schema), _under(self.validation, schema), _under(self.test, schema))

    def by_name(self) -> dict[str, Dataset]:
        """Return the parts that exist."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def digests(self) -> dict[str, str]:
        """What tells the rows that training sees from others."""
        return {name: part.digest for name, part in self.by_name().items() if name != "test"}


def _under(data: Dataset | None, schema: Schema) -> Dataset | None:
    return None if data is None else data.with_schema(schema)


def split(data: Dataset, validation: float, seed: int, *, scale: bool = True, schema: Schema | None = None) -> Splits:
    """Hold out validation rows, and put every part in the units of the training rows (or of `schema`)."""
    train, held_out = data.split(validation, seed)
    if schema is not None:
        train = train.with_schema(schema)
    elif scale:
        train = train.fit_scaling()
    return Splits(train, held_out, data.test).under(train.schema)


def read_splits(source: Any, options: TrainOptions, *, real: bool, schema: Schema | None = None) -> Splits:
    """Open a source as the options say, and split it; with `schema`, in the units of a run that exists already."""
    how = {name: value for name, value in options.changed().items() if name in SOURCE_OPTIONS}
    if options.missing is not None:
        how["missing"] = tuple(options.missing.split(","))
    data = source if isinstance(source, Dataset) else open_source(source, **how)
    data = as_real(data) if real else data
    held = find(options.recipe).validation if options.validation is None else options.validation
    if isinstance(held, str):
        alone = split(data, 0, options.seed, schema=schema)
        held_out = open_source(held, schema=alone.schema, skip_bad=options.skip_bad)
        return Splits(alone.train, held_out, alone.test)
    return split(data, held, options.seed, schema=schema)
