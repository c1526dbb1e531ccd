"""How files become numbers: kept with the model, so that new data are read as its own were."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError, suggest

MISSING = ("NA", "NaN", "nan", "?", "null", "None")
FITS = {"stretch": "stretched", "crop": "cropped in the middle", "pad": "padded with black"}

UNSEEN = ("refuse", "missing")
LABEL = "label"  # as a condition: the labels of the rows, whatever their column is called

Pairs = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the cells of a table and the files of a folder are read.

    header          whether the first line names the columns: "auto", "yes" or "no"
    sep, encoding   of a text table; None detects the delimiter
    decimal         "." or ",": the sign before the decimals of a text table
    missing         words that mean a missing value, besides the empty cell and those of MISSING
    inf_as_missing  whether an infinity is a missing value; else it is refused
    ids, labels     the column that names the rows, and the one that labels them; neither is modelled
    condition       the columns that a model is given beside x, "label" for the labels; none of them is modelled
    unseen          what a category of new data is that the model has not seen: "refuse" or "missing"
    size, fit       (width, height) of every image, and how an image of another size gets it: a key of FITS

    Raises UsageError for a value that is none of these.
    """

    header: str = "auto"
    sep: str | None = None
    encoding: str = "utf-8"
    decimal: str = "."
    missing: tuple[str, ...] = ()
    inf_as_missing: bool = False
    ids: str | None = None
    labels: str | None = None
    condition: tuple[str, ...] = ()
    unseen: str = "refuse"
    size: tuple[int, int] | None = None
    fit: str = "stretch"

    def __post_init__(self) -> None:
        choices = {"header": ("auto", "yes", "no"), "decimal": (".", ","), "fit": tuple(FITS), "unseen": UNSEEN}
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed:
                words = [word if word.isalpha() else f'"{word}"' for word in allowed]
                raise UsageError(f"{name} is {value!r}: expected {', '.join(words[:-1])} or {words[-1]}.")

    @classmethod
    def of(cls, pairs: Pairs = (), **given: Any) -> Reading:
        """Return the reading of a schema's pairs, with those of `given` that are not None in their place."""
        asked = {**dict(pairs), **{name: value for name, value in given.items() if value is not None}}
        known = [field.name for field in dataclasses.fields(cls)]
        for name in asked:
            if name not in known:
                raise UsageError(f"unknown way of reading {name!r}.{suggest(name, known)}")
        if asked.get("size") is not None:
            asked["size"] = parse_size(asked["size"])
        for name in ("missing", "condition"):
            if isinstance(asked.get(name), (list, tuple)):
                asked[name] = tuple(asked[name])
        return cls(**asked)

    @property
    def words(self) -> tuple[str, ...]:
        """All words that mean a missing value."""
        return ("", *MISSING, *self.missing)

    def pairs(self) -> Pairs:
        """Return (name, value) of what differs from the defaults."""
        return tuple(
            (field.name, value)
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        )


def parse_size(size: str | tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of "64x48", "64" or a pair. Raises UsageError."""
    parts = size.lower().split("x") if isinstance(size, str) else [str(n) for n in size]
    if len(parts) not in (1, 2) or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"size is {size!r}: expected WIDTHxHEIGHT, such as 64x48, or one number.")
    return int(parts[0]), int(parts[-1])
