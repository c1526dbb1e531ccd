"""The map between rows as the user has them and x as the model has it."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..errors import DataError, UsageError
from ..noise import Noise
from ..part import Part
from .fields import Field
from .reading import Pairs, Reading
from .words import count, show, some

Layout = Literal["image", "table", "array"]
Values = Literal["binary", "integer", "count", "category", "real", "mixed"]

BINARIZATIONS = ("stochastic", "fixed", "threshold")


class Schema(Part):
    """x = (raw - loc) / scale, and back: what one row is, which values it holds, and in which units.

    name       what the data are called ("mnist", "wine_red"); never a path
    layout     "image" (H, W) or (H, W, C), for the model (C, H, W); "table" (columns,); "array" any shape
    shape      one row as the user has it
    values     "binary", "integer" (the grid low, low + 1, ..., high), "count" (0, 1, 2, ... without an end),
               "category" (the grid, without its order), "real", or "mixed": each column of a kind of its own
    low, high  the grid of the raw values; x is (raw - low) / (high - low) for integers, raw - low for categories;
               of counts 0 and the largest that was seen, which is white in pictures; x is raw
    binarize   how grey values become 0/1: "stochastic" (afresh at every use), "threshold", "fixed" (they are)
    columns    names of the modelled columns of a table, in the order of x
    constants  (name, value) of columns that never vary, numbers or words: stored, not modelled, reproduced on output
    order      all columns in the user's order; one that is neither modelled nor constant had no values at all
    dtypes     the user's type of each column in `order`, so that integers come back as integers
    reading    (name, value) of how the files are read, see `Reading`: new data are read in the same way
    conditions (name, classes) or (name, (mean, deviation)) of what the model is given beside x
    loc, scale float64, broadcastable to `shape`, used where the values are real
    fields     of mixed values: what each column holds, its map to x and back, see `data.fields`

    Raises UsageError where the arguments contradict each other.

    >>> schema = data.Schema(name="grey", layout="image", shape=(2, 2), values="integer", low=0, high=255)
    >>> schema.encode(torch.full((1, 2, 2), 255.0)).max().item(), schema.levels
    (1.0, 256)
    """

    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        *,
        name: str,
        layout: Layout,
        shape: tuple[int, ...],
        values: Values,
        low: int | None = None,
        high: int | None = None,
        binarize: str | None = None,
        columns: tuple[str, ...] | None = None,
        constants: tuple[tuple[str, float | str], ...] = (),
        order: tuple[str, ...] | None = None,
        dtypes: tuple[str, ...] | None = None,
        reading: Pairs = (),
        conditions: tuple[tuple[str, tuple[str | float, ...]], ...] = (),
        loc: Tensor | None = None,
        scale: Tensor | None = None,
        fields: nn.ModuleList | None = None,
    ) -> None:
        super().__init__()
        self.name, self.layout, self.values, self.binarize = name, layout, values, binarize
        self.shape, self.low, self.high = tuple(shape), low, high
        self.columns, self.order, self.dtypes = columns, order, dtypes
        self.constants = tuple((str(k), v if isinstance(v, str) else float(v)) for k, v in constants)
        self.reading = Reading.of(reading).pairs()
        self.conditions = tuple((str(name), tuple(values)) for name, values in conditions)
        self.register_buffer("loc", torch.zeros((), dtype=torch.float64) if loc is None else loc.double())
        self.register_buffer("scale", torch.ones((), dtype=torch.float64) if scale is None else scale.double())
        self.fields = fields
        self._check()

    def arguments(self) -> dict[str, Any]:
        """Return the constructor arguments by name; `fields` only where there are some."""
        known = super().arguments()
        return known if self.fields is not None else {k: v for k, v in known.items() if k != "fields"}

    def _check_types(self) -> None:
        # a file may give anything, and what is wrong here would be found out only when rows are written
        for name, known in (("layout", get_args(Layout)), ("values", get_args(Values))):
            if getattr(self, name) not in known:
                raise UsageError(f"Schema: {name} is {show(getattr(self, name))}, expected {', '.join(known)}.")
        if not all(size > 0 for size in self.shape):
            raise UsageError(f"Schema: rows of shape {self.shape} have no entries.")
        for kind in self.dtypes or ():
            if kind.startswith(("Int", "UInt")) and kind.lstrip("UInt") not in ("8", "16", "32", "64", "128"):
                raise UsageError(f"Schema: {show(kind)} is no type of integers.")

    def _check(self) -> None:
        self._check_types()
        if (self.values == "mixed") != (self.fields is not None):
            raise UsageError(f"Schema: {self.values} values with{'out' * (self.fields is None)} fields.")
        if self.fields is not None and (self.columns is None or len(self.fields) != len(self.columns)):
            raise UsageError(f"Schema: {len(self.fields)} fields for {len(self.columns or ())} columns.")
        if self.fields is not None and not all(isinstance(field, Field) for field in self.fields):
            raise UsageError("Schema: fields are parts of data.fields.")
        if self.values not in ("real", "mixed") and (self.low is None or self.high is None or self.low >= self.high):
            raise UsageError(f"Schema: {self.values} values need low < high, got {self.low} and {self.high}.")
        if self.values == "count" and self.low != 0:
            raise UsageError(f"Schema: counts begin at 0, got low={self.low}.")
        if self.binarize is not None and (self.binarize not in BINARIZATIONS or self.values != "binary"):
            raise UsageError(f"Schema: binarize={self.binarize!r} does not fit {self.values} values.")
        if self.layout == "image" and len(self.shape) not in (2, 3):
            raise UsageError(f"Schema: an image is (H, W) or (H, W, C), got {self.shape}.")
        if self.columns is not None and self.shape != (len(self.columns),):
            raise UsageError(f"Schema: {len(self.columns)} columns do not make rows of shape {self.shape}.")
        if self.dtypes is not None and len(self.dtypes) != len(self.user_columns):
            raise UsageError(f"Schema: {len(self.dtypes)} dtypes for {len(self.user_columns)} columns.")
        for tensor in (self.loc, self.scale):
            if tensor.ndim > len(self.shape) or any(
                a not in (1, b) for a, b in zip(tensor.shape[::-1], self.shape[::-1])
            ):
                raise UsageError(f"Schema: loc or scale {tuple(tensor.shape)} do not fit rows of shape {self.shape}.")
        if not bool((self.scale > 0).all()) or not bool(torch.isfinite(self.scale).all()):
            raise UsageError("Schema: every scale must be positive and finite.")

    def replace(self, **changes: Any) -> Schema:
        """Return a schema with some arguments changed."""
        return Schema(**{**self.arguments(), **changes})

    @property
    def kinds(self) -> tuple[Field, ...]:
        """What each column holds, where the values are mixed; else empty."""
        return tuple(self.fields or ())  # type: ignore[arg-type]

    @property
    def user_columns(self) -> tuple[str, ...]:
        """All columns of a table in the user's order; empty for images and arrays."""
        return self.order or (*(self.columns or ()), *(name for name, _ in self.constants))

    @property
    def model_shape(self) -> tuple[int, ...]:
        """The shape of one row of x: images are channel-first."""
        if self.layout != "image":
            return self.shape
        return (1, *self.shape) if len(self.shape) == 2 else (self.shape[2], *self.shape[:2])

    @property
    def levels(self) -> int:
        """How many values a grid has."""
        return self.grid[1] - self.grid[0] + 1

    @property
    def grid(self) -> tuple[int, int]:
        """The lowest and highest raw value; 0 and 1 where no grid is known."""
        return (0, 1) if self.low is None or self.high is None else (self.low, self.high)

    @property
    def dims(self) -> int:
        """The number of entries of one row."""
        return math.prod(self.shape)

    @property
    def stochastic(self) -> bool:
        """Whether every use of a row is a fresh draw."""
        return self.binarize == "stochastic"

    def arrange(self, rows: Tensor) -> Tensor:
        """Turn (N, *shape) into (N, *model_shape); for masks as well as values."""
        if self.layout != "image":
            return rows
        return rows.unsqueeze(1) if len(self.shape) == 2 else rows.movedim(-1, 1)

    def restore(self, x: Tensor) -> Tensor:
        """Turn (N, *model_shape) into (N, *shape)."""
        if self.layout != "image":
            return x
        return x.squeeze(1) if len(self.shape) == 2 else x.movedim(1, -1)

    def _affine(self, like: Tensor) -> tuple[Tensor | int, Tensor | int]:
        """Return loc and scale with raw = loc + scale * x."""
        if self.values == "real":
            return self.loc.to(like.device, like.dtype), self.scale.to(like.device, like.dtype)
        low, high = self.grid
        return low, 1 if self.values in ("category", "count") else high - low

    def encode(self, raw: Tensor, noise: Noise | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """x = (raw - loc) / scale, with unobserved (NaN) entries 0; grey values become 0/1 by `binarize`.

        raw (N, *shape) -> x (N, *model_shape) of type `dtype`, computed in float64 unless raw is 8-bit.
        Stochastic binarisation is x = 1[u < (raw - low) / (high - low)] with u ~ U(0, 1) drawn from `noise`.
        Raises UsageError if that noise is missing, DataError if rows have another shape.
        """
        if tuple(raw.shape[1:]) != self.shape:
            raise DataError(f"{self.name}: rows have shape {tuple(raw.shape[1:])}, expected {self.shape}.")
        # half precision has too few steps for 256 grey values and their draws
        working = torch.promote_types(dtype, torch.float32)
        values = raw.to(working if raw.dtype == torch.uint8 else torch.float64)
        if self.kinds:
            x = torch.stack([field.encode(column) for field, column in zip(self.kinds, values.unbind(1))], 1)
        else:
            loc, scale = self._affine(values)
            x = (values - loc) / scale
        if raw.is_floating_point():
            x = x.masked_fill(x.isnan(), 0.0)
        x = self.arrange(x).to(working)
        if self.binarize == "stochastic":
            if noise is None:
                raise UsageError(f"{self.name} is binarised stochastically: encode needs noise=Noise(generator).")
            return (noise.uniform((1, *x.shape), x)[0] < x).to(dtype)
        return (x > 0.5).to(dtype) if self.binarize == "threshold" else x.to(dtype)

    def decode(self, x: Tensor, round: bool = False) -> Tensor:
        """Return raw = loc + scale * x in the user's units, float64, of shape (N, *shape).

        With `round`, integer values are put on the nearest point of their grid, and those of mixed columns are what the
        column can hold.
        """
        rows = self.restore(x).double()
        if self.kinds:
            return torch.stack([field.decode(column, round) for field, column in zip(self.kinds, rows.unbind(1))], 1)
        loc, scale = self._affine(rows)
        raw = rows * scale + loc
        if round and self.values == "count":
            return raw.round().clamp(min=0)
        return raw.round().clamp(self.low, self.high) if round and self.values in ("integer", "category") else raw

    def log_det(self, observed: Tensor | None = None, *, density: bool = False) -> Tensor:
        """log |dx / draw|, summed over the (observed) entries: log p(raw) = log p(x) + log_det.

        -sum log scale for real values; 0 for binary and integer ones, whose masses do not depend on units; but with
        `density` -sum log (high - low) for integers, for a likelihood that takes them for real numbers.
        observed (N, *model_shape) gives (N,); None gives a scalar; float64. Of mixed columns: see `jacobian`.
        """
        if self.kinds:
            raise UsageError("Schema: of mixed columns the Jacobian differs from row to row: use jacobian(raw).")
        entries = self.log_det_entries(density=density)
        if observed is None:
            return entries.sum()
        return (entries.to(observed.device) * observed).flatten(1).sum(1)

    def log_det_entries(self, *, density: bool = False) -> Tensor:
        """log |dx / draw| of each entry of any row, (1, *model_shape) float64, as for `log_det`."""
        scale = self.scale if self.values == "real" else torch.ones_like(self.scale)
        if density and self.values == "integer":
            scale = scale * (self.grid[1] - self.grid[0])
        return self.arrange(-scale.log().expand(self.shape)[None])

    def jacobian(self, raw: Tensor) -> Tensor:
        """log |dx / draw| of each entry of rows (N, columns) of a mixed table: float64, 0 for masses and where NaN."""
        columns = zip(self.kinds, raw.double().unbind(1))
        return torch.stack([field.log_det(column) for field, column in columns], 1).nan_to_num(nan=0.0)

    def centre(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the mean (N, *model_shape) of x (K, N, *model_shape), with weights (K, N) that sum to one over K.

        Of mixed columns each as its kind asks: of categories the weightiest.
        """
        if self.kinds:
            weight = x.new_full(x.shape[:2], 1 / len(x)) if weight is None else weight
            columns = zip(self.kinds, x.unbind(2))
            return torch.stack([field.centre(column, weight) for field, column in columns], 1)
        if weight is None:
            return x.mean(0)
        return (weight.reshape(*weight.shape, *[1] * (x.ndim - 2)) * x).sum(0)

    def entry(self, index: tuple[int, ...]) -> str:
        """Return the name of one entry of a row for messages: the column, else the index."""
        if self.columns is not None:
            return f"column {show(self.columns[index[0]])}"
        return f"entry {list(index)}"

    def describe(self) -> str:
        """Return what a row is, in a few words."""
        values = self.values if self.binarize is None else f"binary ({self.binarize})"
        if self.kinds:
            kinds = Counter(field.kind for field in self.kinds)
            number = ", ".join(f"{many} {kind}" for kind, many in kinds.items())
            return f"{count(len(self.kinds), 'column')} ({number})"
        if self.layout == "table" and self.columns is not None:
            return f"{count(len(self.columns), f'{values} column')} ({some(self.columns)})"
        if self.layout == "image":
            colour = "grey" if len(self.shape) == 2 else "colour"
            grid = "" if self.binarize else f" {self.low}..{self.high}"
            return f"{self.shape[1]}x{self.shape[0]} {colour} images, {values} values{grid}"
        return f"{values} arrays of shape {self.shape}"
