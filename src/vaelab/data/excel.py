"""Words that a spreadsheet would run as a formula, made harmless where that is asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .text import is_number

if TYPE_CHECKING:
    import polars as pl

STARTS = r"^[=+\-@\t\r]"  # what OWASP lists under CSV injection


def harmless(text: str, decimal: str = ".") -> str:
    """Return a cell with ' before it if a spreadsheet would run it; a number runs nothing and stays.

    >>> from vaelab.data.excel import harmless
    >>> [harmless(cell) for cell in ("=1+1", "-5.2", "@home", "a=b")]
    ["'=1+1", '-5.2', "'@home", 'a=b']
    """
    return f"'{text}" if re.match(STARTS, text) and not is_number(text, decimal) else text


def harmless_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose words, names of columns among them, are `harmless`; numbers and dates as they stand."""
    import polars as pl

    out = []
    for column in frame.get_columns():
        if column.dtype in (pl.String, pl.Categorical, pl.Enum):
            cells = column.cast(pl.String).to_list()
            column = pl.Series(column.name, [cell if cell is None else harmless(cell) for cell in cells], pl.String)
        out.append(column.alias(harmless(column.name)))
    return pl.DataFrame(out)
