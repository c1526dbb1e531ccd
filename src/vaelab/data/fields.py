"""What one column of a mixed table holds: a kind, the map between the user's value and x, and back.

The user's value of a cell is a number: itself, the place of a word in the column's list, the seconds of a time.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import UsageError
from ..part import Part
from .transforms import MAPS, choose
from .words import show, some

SPIKE = -32.0  # x of a value that is repeated so often that it has a mass of its own: no number standardises to it
LARGEST_SHARE = 0.15  # of rows with one and the same value: above it, the value is such a spike
ENOUGH_FOR_MODES = 1000  # rows, from which on the law of a number given z may have several modes
MODES = 3
WIDE = 256  # categories, above which encoder and decoder know them by vectors of a few numbers
MOST_LEVELS = 100_000


class Field(Part, ABC):
    """One column: raw (N,) float64, NaN where missing, to x and back; `kind` in words, `family` of its likelihood.

    >>> data.Levels.of(["no", "yes"]).family
    'categorical=2'
    """

    kind: str
    unordered = False  # whether an average of x means nothing

    @property
    @abstractmethod
    def family(self) -> str:
        """The kind of column of `likelihoods.Columns` that is its law."""

    @abstractmethod
    def encode(self, raw: Tensor) -> Tensor:
        """Return x."""

    @abstractmethod
    def decode(self, x: Tensor, round: bool = False) -> Tensor:
        """Return raw; with `round` a value that the column can hold."""

    @abstractmethod
    def wrong(self, raw: Tensor) -> tuple[Tensor, str]:
        """Return which values cannot be (bool), and what is expected in their place."""

    @abstractmethod
    def describe(self) -> str:
        """Return what is known of the values, in a few words."""

    def log_det(self, raw: Tensor) -> Tensor:
        """log |dx / draw|: 0 where the law is a mass, which no unit changes."""
        return torch.zeros_like(raw)

    def fit(self, raw: Tensor) -> Field:
        """Return the field fitted to the training rows."""
        return self

    def centre(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted mean (N,) of x (K, N), weights (K, N); of categories the weightiest."""
        return vote(x, weight) if self.unordered else (weight * x).sum(0)


def vote(x: Tensor, weight: Tensor) -> Tensor:
    """Return the value with the largest weight in all, (N,) of (K, N)."""
    ordered, order = x.sort(0)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    run = first.long().cumsum(0) - 1  # equal values have one number
    total = torch.zeros_like(weight).scatter_add_(0, run, weight.gather(0, order))
    return ordered.gather(0, (run == total.argmax(0)).long().argmax(0, keepdim=True))[0]


class Levels(Field):
    """Words: raw and x are the place of the word in the list, x of an ordered one on the grid 0 .. 1.

    words    the list, as the bytes of a JSON array: 100,000 words are one tensor
    ordered  whether the order of the list means something

    >>> data.Levels.of(["no", "yes"]).levels
    ('no', 'yes')
    """

    words: Tensor

    def __init__(self, words: Tensor, ordered: bool = False) -> None:
        super().__init__()
        self.register_buffer("words", words)
        self.ordered, self.unordered = ordered, not ordered
        try:
            self.levels = () if words.device.type == "meta" else tuple(json.loads(bytes(words.tolist())))
        except (ValueError, TypeError):
            raise UsageError("Levels: words must be the bytes of a JSON array of texts.") from None
        if not all(isinstance(word, str) for word in self.levels) or len(set(self.levels)) != len(self.levels):
            raise UsageError("Levels: words must be texts, each of them once.")
        if words.device.type != "meta" and len(self.levels) < 2:
            raise UsageError(f"Levels: a category has two words or more, got {len(self.levels)}.")

    @classmethod
    def of(cls, levels: Sequence[str], ordered: bool = False) -> Levels:
        """Return the field of a list of words."""
        return cls(torch.tensor(list(json.dumps(list(levels)).encode()), dtype=torch.uint8), ordered)

    @property
    def kind(self) -> str:  # type: ignore[override]
        """ordinal, boolean (two words that say true and false) or category."""
        truth = {word.lower() for word in self.levels} in ({"false", "true"}, {"no", "yes"}, {"f", "t"}, {"n", "y"})
        return "ordinal" if self.ordered else "boolean" if truth else "category"

    @property
    def family(self) -> str:
        """ordinal=N, categorical=N, or low-rank-categorical=N for many."""
        number = len(self.levels)
        if self.ordered:
            return f"ordinal={number}"
        return f"{'low-rank-' if number > WIDE else ''}categorical={number}"

    def encode(self, raw: Tensor) -> Tensor:
        """Return the place of the word; on the grid 0 .. 1 where ordered."""
        return raw / (len(self.levels) - 1) if self.ordered else raw

    def decode(self, x: Tensor, round: bool = False) -> Tensor:
        """Return the place of the word, always a whole one: half a word is none."""
        raw = x * (len(self.levels) - 1) if self.ordered else x
        return raw.round().clamp(0, len(self.levels) - 1)

    def wrong(self, raw: Tensor) -> tuple[Tensor, str]:
        """Return what is no place in the list."""
        return (raw < 0) | (raw >= len(self.levels)) | (raw != raw.round()), f"one of {some(self.levels)}"

    def describe(self) -> str:
        """Return the number of words and the first of them."""
        return f"{len(self.levels):,} levels: {some(self.levels, 4)}"


class Grid(Field):
    """Whole numbers low, low + 1, ..., high: x = (raw - low) / (high - low).

    >>> data.Grid(1, 3).encode(torch.tensor([1.0, 2, 3]))
    tensor([0.0000, 0.5000, 1.0000])
    """

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        if low >= high:
            raise UsageError(f"Grid: needs low < high, got {low} and {high}.")
        self.low, self.high = low, high
        self.kind = "boolean" if (low, high) == (0, 1) else "ordinal"

    @property
    def family(self) -> str:
        """Bernoulli for 0 and 1, else ordinal=N."""
        return "bernoulli" if self.kind == "boolean" else f"ordinal={self.high - self.low + 1}"

    def encode(self, raw: Tensor) -> Tensor:
        """Return x in 0 .. 1."""
        return (raw - self.low) / (self.high - self.low)

    def decode(self, x: Tensor, round: bool = False) -> Tensor:
        """Return low .. high; with `round` whole."""
        raw = self.low + x * (self.high - self.low)
        return raw.round().clamp(self.low, self.high) if round else raw

    def wrong(self, raw: Tensor) -> tuple[Tensor, str]:
        """Return what is off the grid."""
        wrong = (raw < self.low) | (raw > self.high) | (raw != raw.round())
        return (
            wrong,
            f"{self.low} or {self.high}" if self.kind == "boolean" else f"whole from {self.low} to {self.high}",
        )

    def describe(self) -> str:
        """Return the ends."""
        return f"{self.low} or {self.high}" if self.kind == "boolean" else f"whole, {self.low} to {self.high}"


class Count(Field):
    """Whole numbers from 0 on without an end: x is raw. `high` is the largest that was seen.

    >>> data.Count(9).family
    'negative-binomial'
    """

    kind = "count"
    family = "negative-binomial"

    def __init__(self, high: int) -> None:
        super().__init__()
        self.high = high

    def encode(self, raw: Tensor) -> Tensor:
        """Return raw."""
        return raw

    def decode(self, x: Tensor, round: bool = False) -> Tensor:
        """Return x; with `round` whole."""
        return x.round().clamp(min=0) if round else x

    def wrong(self, raw: Tensor) -> tuple[Tensor, str]:
        """Return what is no count."""
        return (raw < 0) | (raw > 2**24) | (raw != raw.round()), "a count: 0, 1, 2, ..."

    def describe(self) -> str:
        """Return the largest."""
        return f"whole, 0 to {self.high:,} seen, without an end"


class Number(Field):
    """Real numbers: x = (T(raw) - loc) / scale, T an invertible map of `data.transforms`; its Jacobian is counted.

    kind       "real", "positive" (T = log) or "date" (seconds since 1970)
    low, high  the ends of what was seen, to which drawn values are brought; of T = logit the open ends of the range
    transform  the name of T; knots its numbers
    decimals   how many there are; -1 for many
    spike      a value with a mass of its own: x = SPIKE there, log p is the log of its mass, and elsewhere that of the
               density with the rest of the mass. Its nats are then of a law that is part mass, part density
    modes      how many modes the law of x given z may have

    >>> data.Number("real", low=0.0, high=9.0, loc=3.0, scale=2.0).encode(torch.tensor([3.0, 5.0]))
    tensor([0., 1.])
    """

    knots: Tensor

    def __init__(
        self,
        kind: str,
        *,
        low: float,
        high: float,
        loc: float = 0.0,
        scale: float = 1.0,
        transform: str = "identity",
        knots: Tensor | None = None,
        decimals: int = -1,
        spike: float | None = None,
        modes: int = 1,
    ) -> None:
        super().__init__()
        if transform not in MAPS or not scale > 0:
            raise UsageError(f"Number: transform is {show(transform)}, scale {scale}: expected {', '.join(MAPS)}, > 0.")
        self.kind, self.transform, self.decimals, self.spike, self.modes = kind, transform, decimals, spike, modes
        self.low, self.high, self.loc, self.scale = float(low), float(high), float(loc), float(scale)
        self.register_buffer("knots", torch.zeros(0, dtype=torch.float64) if knots is None else knots.double())
        self.unordered = spike is not None

    @property
    def family(self) -> str:
        """gaussian, gaussian-mixture=MODES, or spike=MODES."""
        if self.spike is not None:
            return f"spike={self.modes}"
        return f"gaussian-mixture={self.modes}" if self.modes > 1 else "gaussian"

    def fit(self, raw: Tensor) -> Number:
        """Choose spike, map, location, scale and modes by the training rows."""
        seen = raw[~raw.isnan()]
        if not len(seen):
            return self
        values, times = seen.unique(return_counts=True)
        often = times.argmax()
        spiked = len(values) > 2 and times[often] > max(10, LARGEST_SHARE * len(seen)) and self.kind != "date"
        spike = values[often].item() if spiked else None
        rest = seen[seen != spike] if spiked else seen
        if self.kind == "positive" or self.transform == "logit":
            transform, knots = "log" if self.kind == "positive" else "logit", self.knots
        else:
            transform, knots = choose(rest)
        t = MAPS[transform].forward(rest, knots)
        loc, scale = t.mean().item(), t.std(correction=0).item()
        scale = scale if scale > 1e-8 * abs(loc) else max(1e-8 * abs(loc), 1.0 if scale == 0 and loc == 0 else 0.0)
        # of a range with ends that is the range, not what was seen of it
        ends = (self.low, self.high) if transform == "logit" else (seen.min().item(), seen.max().item())
        return Number(
            self.kind, low=ends[0], high=ends[1], loc=loc, scale=scale, transform=transform, knots=knots,
            decimals=_decimals(seen), spike=spike, modes=MODES if len(rest) >= ENOUGH_FOR_MODES else 1,
        )  # fmt: skip

    def encode(self, raw: Tensor) -> Tensor:
        """Return (T(raw) - loc) / scale, SPIKE at the spike."""
        x = (MAPS[self.transform].forward(raw, self.knots.to(raw)) - self.loc) / self.scale
        return x if self.spike is None else torch.where(raw == self.spike, SPIKE, x)

    def decode(self, x: Tensor, round: bool = False) -> Tensor:
        """Return T^-1(loc + scale x); with `round` within what was seen, with as many decimals."""
        raw = MAPS[self.transform].inverse(self.loc + self.scale * x, self.knots.to(x))
        if round:
            raw = raw.clamp(self.low, self.high)
            raw = raw if self.decimals < 0 else torch.round(raw, decimals=self.decimals).clamp(self.low, self.high)
        return raw if self.spike is None else torch.where(x == SPIKE, self.spike, raw)

    def log_det(self, raw: Tensor) -> Tensor:
        """log dT/draw - log scale; 0 at the spike, which has a mass."""
        slope = MAPS[self.transform].log_slope(raw, self.knots.to(raw)) - math.log(self.scale)
        return slope if self.spike is None else torch.where(raw == self.spike, 0.0, slope)

    def wrong(self, raw: Tensor) -> tuple[Tensor, str]:
        """Return what is outside of the range of T."""
        if self.transform == "log":
            return raw <= 0, "a positive number"
        if self.transform == "logit":
            return (raw <= self.low) | (raw >= self.high), f"a number between {self.low:g} and {self.high:g}"
        return torch.zeros_like(raw, dtype=torch.bool), "a number"

    def centre(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted mean; SPIKE if that has more than half the weight, else the mean of the rest."""
        if self.spike is None:
            return super().centre(x, weight)
        at = x == SPIKE
        rest = torch.where(at, 0.0, weight)
        mean = (rest * torch.where(at, 0.0, x)).sum(0) / rest.sum(0).clamp(min=1e-300)
        return torch.where((weight * at).sum(0) > 0.5, SPIKE, mean)

    def describe(self) -> str:
        """Return the range, the map and the spike."""
        low, high = (_day(self.low), _day(self.high)) if self.kind == "date" else (f"{self.low:g}", f"{self.high:g}")
        what = [f"{low} to {high}"]
        what += [self.transform] if self.transform != "identity" else []
        what += [f"a spike at {self.spike:g}"] if self.spike is not None else []
        return ", ".join(what)


def _day(seconds: float) -> str:
    from datetime import UTC, datetime, timedelta

    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).date().isoformat()


def _decimals(values: Tensor, most: int = 6) -> int:
    """Return the fewest decimals with which all these numbers can be written, -1 where that is more than `most`."""
    some = values[:10_000]
    for decimals in range(most + 1):
        if bool(((some - torch.round(some, decimals=decimals)).abs() <= 1e-12 * some.abs().clamp(min=1)).all()):
            return decimals
    return -1
