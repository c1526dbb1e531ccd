"""Which parts a run gets: the recipe's, the options', and a likelihood that the data can have come from."""

from __future__ import annotations

from typing import Any

from torch import nn

from .data import Schema, as_counts, choose_likelihood
from .errors import UsageError
from .likelihoods import Columns, Likelihood
from .options import TrainOptions
from .parts import Spec, known, parse, takes
from .recipes import DEFAULTS, Recipe
from .splits import Splits


def choose_parts(
    options: TrainOptions, recipe: Recipe, schema: Schema, steps_per_epoch: int
) -> tuple[dict[str, Any], dict[str, Spec], str]:
    """Return the recipe's keyword arguments, the specification of each part, and why this likelihood."""
    parts = {**DEFAULTS, **recipe.parts}
    if options.likelihood is not None:
        parts["likelihood"], reason = options.likelihood, "it was asked for"
    elif "likelihood" in recipe.parts:
        reason = f"the recipe {recipe.name} has it"
    else:
        parts["likelihood"], reason = choose_likelihood(schema)
    roles = ("prior", "posterior", "network", "activation", "objective", "refine", "missingness")
    asked = {role: getattr(options, role) for role in roles}
    parts |= {role: value for role, value in asked.items() if value is not None}
    if options.hidden is not None:
        parts["hidden"] = _widths(options.hidden)
    specs = {
        "prior": parse("prior", parts["prior"]),
        "posterior": parse("posterior", parts["posterior"]),
        "likelihood": _with_levels(parse("likelihood", parts["likelihood"]), schema),
        "network": parse("network", parts["network"]),
        "objective": _weighted(parse("objective", parts["objective"]), options, steps_per_epoch),
    }
    specs |= {role: parse(role, parts[role]) for role in ("refine", "missingness") if parts[role]}
    return {**parts, **{role: str(spec) for role, spec in specs.items()}}, specs, reason


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(width) for width in text.split(",") if width.strip())
    except ValueError:
        raise UsageError(f'hidden is {text!r}: expected widths such as "500,500".') from None


def _with_levels(spec: Spec, schema: Schema) -> Spec:
    """Return a likelihood on a grid with the number of levels of the data, unless it was given."""
    if spec.part.levels is None:
        return spec
    if schema.values in ("real", "count", "mixed"):
        if spec.part.levels not in spec.arguments:
            raise _not_for(spec.part, schema)
        return spec
    return Spec(spec.role, spec.name, spec.part, {spec.part.levels: schema.levels, **spec.arguments})


def _weighted(spec: Spec, options: TrainOptions, steps_per_epoch: int) -> Spec:
    """Return the objective with --beta, --free-bits and --warmup (in epochs) written into it."""
    asked = {"beta": options.beta, "free_bits": options.free_bits, "warmup": options.warmup}
    arguments = {name: value for name, value in asked.items() if value is not None}
    for name in arguments:
        takers = [other for other, part in known("objective").items() if takes(part, name)]
        if spec.name not in takers:
            option = name.replace("_", "-")
            raise UsageError(f"--{option} belongs to the objective {' or '.join(takers)}, not to {spec.name}.")
    if "warmup" in arguments:
        arguments["warmup"] = round(arguments["warmup"] * steps_per_epoch)
    return Spec(spec.role, spec.name, spec.part, {**spec.arguments, **arguments})


def as_the_likelihood_reads(splits: Splits, likelihood: type[Likelihood], asked: bool = True) -> Schema:
    """Return the schema under which a likelihood of categories reads integers as codes, one of counts as counts.

    One of binary images that comes with the recipe, not `asked` for, gets grey images drawn to 0 or 1 afresh. Else
    the same schema: what does not fit is refused later, by name.
    """
    schema = splits.schema
    if schema.kinds:
        return schema
    if not asked and likelihood.values == ("binary",) and (schema.layout, schema.values) == ("image", "integer"):
        return schema.replace(values="binary", binarize="stochastic")
    if schema.values not in likelihood.values and "count" in likelihood.values:
        return as_counts(schema, splits.by_name().values()) or schema
    if schema.values == "integer" and likelihood.values == ("category",):
        return schema.replace(values="category")
    return schema


def check_support(model: nn.Module, schema: Schema) -> None:
    """Refuse a likelihood that the values cannot have come from."""
    likelihood = getattr(model, "likelihood", None)
    if not isinstance(likelihood, Likelihood):
        return
    has = schema.values
    if has not in likelihood.values:
        raise _not_for(likelihood, schema)
    if isinstance(likelihood, Columns):
        _check_columns(likelihood, schema)
    levels = getattr(likelihood, likelihood.levels) if likelihood.levels else schema.levels
    if has not in ("real", "count", "mixed") and levels != schema.levels:
        raise UsageError(
            f"{schema.name} has {schema.levels} levels, but the likelihood has {likelihood.levels}={levels}. "
            f"Use {likelihood.levels}={schema.levels}."
        )


def _check_columns(likelihood: Columns, schema: Schema) -> None:
    """Refuse laws of columns that are not those of what the columns hold: as many levels, masses for masses."""
    for name, field, kind in zip(schema.columns or (), schema.kinds, likelihood.kinds):
        ours, theirs = field.family.removeprefix("low-rank-"), kind.removeprefix("low-rank-")
        masses = ours.startswith(("categorical", "ordinal", "spike"))
        if theirs != ours and (masses or ("=" in theirs and not theirs.startswith("gaussian-mixture"))):
            raise UsageError(f"columns: column {name} is {field.kind}, {ours}: its law cannot be {theirs}.")


def _not_for(likelihood: Likelihood | type[Any], schema: Schema) -> UsageError:
    """Return what to say of a likelihood that is for other values."""
    has, name = schema.values, likelihood.__name__ if isinstance(likelihood, type) else type(likelihood).__name__
    grid = "" if has in ("real", "count", "mixed") else f", {schema.low}..{schema.high}"
    use = "Leave --likelihood out" if schema.kinds else f"Use --likelihood {choose_likelihood(schema)[0]}"
    binarize = ", or --binarize stochastic" if likelihood.values == ("binary",) and schema.layout == "image" else ""
    return UsageError(
        f"the {name} likelihood is for {' or '.join(likelihood.values) or 'several kinds of'} values, "
        f"but {schema.name} has {has} ones{grid}. {use}{binarize}."
    )
