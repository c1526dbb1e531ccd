"""How probable rows are under the model, one number each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..data import Dataset
from ..errors import UsageError
from ..evaluation import NO_DENSITY, evidence_rows
from ..likelihoods import Likelihood
from ..part import exact
from ..training import Rows


def score(
    model: nn.Module,
    data: Dataset,
    *,
    samples: int = 1000,
    units: str = "user",
    seed: int = 0,
    tick: Callable[[float], None] = lambda share: None,
) -> Tensor:
    """log 1/K sum_k w_k, a lower bound on log p(x) in expectation: (N,) float64, in nats of the user's units.

    K = `samples` draws z ~ q(z | x) (Burda et al. 2016, eq. 8). Their noise is the same for every row and all is in
    float64, so a row's score depends on nothing but the row, to 1e-10. Densities take the Jacobian of the scaling
    unless `units` is "standardised". Raises UsageError for a model without log p(x).
    """
    if units not in ("user", "standardised"):
        raise UsageError(f"units is 'user' or 'standardised', got {units!r}.")
    rows = Rows(data, dtype=torch.float64)
    values = evidence_rows(exact(model), rows, samples=samples, seed=seed, shared=True, tick=tick).evidence
    if values is None:
        raise UsageError(f"this model gives no log p(x): {NO_DENSITY}. Train one with a posterior that has a density.")
    likelihood: Likelihood = model.likelihood  # type: ignore[assignment]
    if likelihood.discrete or units == "standardised":
        return values
    return values + rows.log_det
