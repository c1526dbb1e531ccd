"""What was asked of a source, and which of it can apply there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from .kinds import Asked as Kind
from .reading import Reading
from .schema import Schema
from .stored import Cache
from .table import Picked

APPLIES = {
    "columns": "tables",
    "drop": "tables",
    "column": "tables",
    "columns_file": "tables",
    "unseen": "tables",
    "ids": "tables",
    "sep": "text tables",
    "decimal": "text tables",
    "missing": "text tables",
    "inf_as_missing": "tables and arrays",
    "size": "folders of images",
    "fit": "folders of images",
    "skip_bad": "folders of images",
}


@dataclass(frozen=True)
class Asked:
    """What was asked of a source: the columns, how to read, and the model that it is new data for."""

    columns: Picked
    drop: Picked
    labels: Any
    skip_bad: bool
    binarize: str | None
    schema: Schema | None
    reading: Reading
    given: frozenset[str]
    kinds: dict[str, Kind]
    cache: Cache | None = None

    def only(self, what: str, *kinds: str) -> None:
        """Raise UsageError for an option that says nothing of `what`, which is one of `kinds`."""
        for name in sorted(self.given & set(APPLIES)):
            if APPLIES[name] not in kinds:
                raise UsageError(f"--{name.replace('_', '-')} applies to {APPLIES[name]}, not to {what}.")
