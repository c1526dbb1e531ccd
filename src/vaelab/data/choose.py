"""Which likelihood fits the values."""

from __future__ import annotations

from .schema import Schema
from .words import show


def described(schema: Schema, most: int = 60) -> list[str]:
    """Return a line for each column of a mixed table: its name, kind, law, and what is known of its values.

    >>> data.described(data.open_source("digits").schema)  # no mixed table
    []
    """
    names = [show(name)[1:-1] for name in schema.columns or ()]
    wide = max((len(name) for name in names), default=0)
    lines = [
        f"column   {name:<{wide}}  {field.kind:<8}  {field.family:<20}  {field.describe()}"
        for name, field in zip(names, schema.kinds)
    ]
    return lines if len(lines) <= most else [*lines[:most], f"column   ... and {len(lines) - most} more"]


def choose_likelihood(schema: Schema) -> tuple[str, str]:
    """Return the specification of the likelihood that suits the values, and the reason in plain words.

    >>> data.choose_likelihood(data.open_source("digits").schema)[0]
    'discretized-logistic:bins=17'
    """
    if schema.kinds:
        kinds = "+".join(field.family for field in schema.kinds)
        return f"columns:kinds={kinds}", "its columns are of several kinds"
    if schema.values == "binary":
        how = {"stochastic": "grey values are drawn to 0 or 1", "threshold": "grey values are cut to 0 or 1"}
        return "bernoulli", how.get(schema.binarize or "", f"every value is {schema.low} or {schema.high}")
    if schema.values == "integer":
        return f"discretized-logistic:bins={schema.levels}", f"values are integers from {schema.low} to {schema.high}"
    if schema.values == "count":
        return "negative-binomial", f"values are counts, {schema.high:,} at most here"
    if schema.values == "category":
        return f"categorical:categories={schema.levels}", f"values are categories {schema.low} to {schema.high}"
    if schema.layout == "image":
        return "gaussian:scale=shared", "the pixels are treated as real numbers"
    what = "columns" if schema.layout == "table" else "entries"
    return "gaussian:scale=entry", f"the {what} are real numbers"
