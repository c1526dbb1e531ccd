"""Where x comes from: sources, schema, tables, images, binarisation, and the way back to files."""

from .arrays import as_counts
from .choose import choose_likelihood, described
from .dataset import Dataset, as_real, as_rows_of
from .fields import Count, Field, Grid, Levels, Number
from .schema import Schema
from .sources import open_source
from .write import write_rows

__all__ = [
    "Count",
    "Dataset",
    "Field",
    "Grid",
    "Levels",
    "Number",
    "Schema",
    "as_counts",
    "as_real",
    "as_rows_of",
    "choose_likelihood",
    "described",
    "open_source",
    "write_rows",
]
