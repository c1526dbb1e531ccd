"""What was not observed, from what was: single best values, several draws, intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Count, Dataset, Grid, Levels, Number, Schema
from ..data.fields import vote
from ..distributions import draw
from ..errors import UsageError
from ..evaluation import NO_DENSITY
from ..memory import at_once
from ..models import Model
from ..models.terms import Terms
from ..models.vae import centre
from ..noise import Mirrored, OnePerDraw, RowNoise, SharedNoise, stream
from ..part import exact, inference
from ..training import Rows


@dataclass(frozen=True, eq=False)
class Imputation:
    """Rows with their gaps filled, (N, *shape) float64 in the user's units; what was observed stands as it stood.

    values     the best single value of each gap: mean of real numbers, median of ordered ones, likeliest category
    draws      (M, N, *shape) draws from p(x_missing | x_observed): each copy is a row as the model would complete it
    low, high  ends of the interval that holds `level` of the probability of each gap; NaN for categories, and no gaps
    sure       the probability of the value of a category in `values`; NaN elsewhere
    missing    bool (N, *shape), the gaps
    effective  (N,) how many of the `samples` draws of z carry the answer: below 10 or so, take more; NaN without gaps
    """

    values: Tensor
    draws: Tensor
    low: Tensor
    high: Tensor
    sure: Tensor
    missing: Tensor
    effective: Tensor
    level: float
    data: Dataset


def posterior_weights(terms: Terms) -> Tensor:
    """w_k / sum w, (K, B): the weights under which draws from q(z | x) are draws from p(z | x).

    Raises UsageError where q has no density.
    """
    if terms.log_qz is None:
        raise UsageError(f"this model cannot weigh what may be missing: {NO_DENSITY}.")
    return (terms.log_w.double() + terms.log_weights).softmax(0)


def completed(terms: Terms) -> Tensor:
    """E[x | z_k], (K, B, *X); where the weights are those of whole rows, as p(s | x) makes them, these rows."""
    return centre(terms.px) if terms.filled is None else terms.filled


def quantile(value: Tensor, weight: Tensor, share: float) -> Tensor:
    """Return the smallest of the values (K, B, ...) that has a `share` of the weights (K, B) at or below it."""
    ordered, order = value.sort(0)
    below = weight.reshape(*weight.shape, *[1] * (value.ndim - 2)).expand_as(value).gather(0, order).cumsum(0)
    first = (below >= share * below[-1]).long().argmax(0, keepdim=True)
    return ordered.gather(0, first)[0]


def impute(
    model: nn.Module,
    data: Dataset,
    *,
    draws: int = 0,
    samples: int = 1000,
    level: float = 0.9,
    seed: int = 0,
    tick: Callable[[float], None] = lambda share: None,
) -> Imputation:
    """p(x_missing | x_observed) = E_{p(z | x_observed)}[p(x_missing | z)], by self-normalised importance sampling.

    K = `samples` draws z_k ~ q(z | x_observed), in pairs that mirror each other, with weights w_k = p(x_observed, z_k)
    / q(z_k) (Mattei & Frellsen 2019, MIWAE, eq. 12-13); `draws` of x are made at z picked by their weights. More
    samples come nearer to the model's own conditional, without an end. Noise belongs to the row: no row's result
    depends on the others. Raises UsageError for a model without weights.
    """
    if samples < 1 or draws < 0:
        raise UsageError(f"impute: samples must be at least 1 and draws at least 0, got {samples} and {draws}.")
    if not 0 < level < 1:
        raise UsageError(f"impute: level must lie between 0 and 1, got {level:g}.")
    assert isinstance(model, Model)
    schema, twin = data.schema, exact(model)
    missing = torch.zeros(data.x.shape, dtype=torch.bool) if data.observed is None else ~data.observed
    gaps = missing.flatten(1).any(1).nonzero()[:, 0]
    whole = data.x.double()
    nothing = torch.full_like(whole, torch.nan)
    values, low, high, sure = whole.clone(), nothing.clone(), nothing.clone(), nothing.clone()
    copies, effective = whole.expand(draws, *whole.shape).clone(), nothing.new_full((len(data),), torch.nan)
    rows = Rows(data, dtype=torch.float64).drawn(seed, shared=True)
    block = at_once(twin, samples * schema.dims)
    with inference(twin):
        for done, some in enumerate(gaps.split(block) if len(gaps) else ()):
            batch, gap = rows.at(some), missing[some]
            noise = RowNoise(seed, some.tolist())
            terms = twin.terms(
                batch.x, samples=samples, observed=batch.observed, condition=batch.condition, noise=Mirrored(noise)
            )
            weight = posterior_weights(terms)
            drawn = draw(terms.px, 1, OnePerDraw(noise))[0] if terms.filled is None else terms.filled
            seen = _in_users_units(schema, drawn)
            best, probability = best_of(schema, completed(terms), seen, weight)
            ends = [quantile(seen, weight, share) for share in ((1 - level) / 2, (1 + level) / 2)]
            values[some] = torch.where(gap, best, whole[some])
            sure[some] = probability.masked_fill(~gap, torch.nan)
            ordered = gap & probability.isnan()
            low[some], high[some] = (torch.where(ordered, end, torch.nan) for end in ends)
            effective[some] = 1 / weight.square().sum(0)
            if draws:
                u = noise.uniform((draws, len(some)), weight)
                pick = torch.searchsorted(weight.cumsum(0).T.contiguous(), u.T.contiguous()).clamp(max=samples - 1)
                taken = seen[pick.T, torch.arange(len(some))]
                copies[:, some] = torch.where(gap, taken, whole[some])
            tick(min(1.0, (done + 1) * block / len(gaps)))
    return Imputation(values, copies, low, high, sure, missing, effective, level, data)


def expected(model: nn.Module, data: Dataset, *, samples: int, seed: int = 0) -> Tensor:
    """E[x | x_observed] = sum_k w_k E[x | z_k] / sum_k w_k: (N, *schema.shape) float64, in the user's units.

    The means that `impute` has for real numbers, of all entries and by noise that is the same for every row: equal rows
    have equal means, in any company. Raises UsageError where q has no density.
    """
    assert isinstance(model, Model)
    rows, twin = Rows(data, dtype=torch.float64).drawn(seed, shared=True), exact(model)
    out = []
    with inference(twin):
        for batch in rows.in_order(at_once(twin, samples * data.schema.dims)):
            noise = SharedNoise(stream(seed, "impute"))
            terms = twin.terms(batch.x, samples=samples, observed=batch.observed, noise=noise)
            out.append(torch.einsum("kb,kb...->b...", posterior_weights(terms), completed(terms)))
    return data.schema.decode(torch.cat(out))


def _in_users_units(schema: Schema, x: Tensor) -> Tensor:
    """Return draws of x (K, B, *model_shape) as values that the columns can hold, (K, B, *shape)."""
    return schema.decode(x.flatten(0, 1), round=True).unflatten(0, x.shape[:2])


def best_of(schema: Schema, mean: Tensor, seen: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best value of each entry, (B, *shape), and the probability of that of a category, NaN elsewhere.

    mean (K, B, *model_shape) is E[x | z_k], seen (K, B, *shape) draws of x given z_k in the user's units.
    """
    wide = weight.reshape(*weight.shape, *[1] * (seen.ndim - 2))
    probability = torch.full_like(seen[0], torch.nan)
    if not schema.kinds:
        if schema.values in ("binary", "category"):
            best = torch.stack([vote(entry, weight) for entry in seen.flatten(2).unbind(2)], 1).reshape(seen.shape[1:])
            return best, (wide * (seen == best)).sum(0)
        if schema.values == "count":
            return quantile(seen, weight, 0.5), probability
        return schema.decode(schema.centre(mean, weight), round=True), probability
    best = seen[0].clone()
    for i, field in enumerate(schema.kinds):
        column = seen[..., i]
        best[:, i] = _best(field, mean[..., i], column, weight)
        if _nominal(field):
            probability[:, i] = (weight * (column == best[:, i])).sum(0)
    return best, probability


def _nominal(field: Any) -> bool:
    return (isinstance(field, Levels) and not field.ordered) or (isinstance(field, Grid) and field.kind == "boolean")


def _best(field: Any, mean: Tensor, column: Tensor, weight: Tensor) -> Tensor:
    if _nominal(field):
        return vote(column, weight)
    if isinstance(field, (Count, Grid, Levels)) or field.spike is not None:
        return quantile(column, weight, 0.5)
    assert isinstance(field, Number)
    if field.transform == "identity":  # the mean of what is affine in x needs no draw of x
        return field.decode((weight * mean).sum(0), round=True)
    # the mean of the user's numbers is not where the map puts the mean of x
    return (weight * column).sum(0)
