"""The rows that a command is given, and what was found while reading them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..data import Dataset
    from ..run import Run


def read_rows(run: Run, source: str | None) -> tuple[Dataset, str]:
    """Return the rows of `Run.data`; of new ones, what was skipped, missing or ignored is said on stderr."""
    data, split = run.data(source)
    for note in data.notes if source is not None else ():
        print(f"note: {note}", file=sys.stderr)
    return data, split
