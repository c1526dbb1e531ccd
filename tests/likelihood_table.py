"""Every likelihood with its options, the support of one entry, and how one is built at any parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from oracles import F64, assign
from vaelab import likelihoods
from vaelab.networks import MLP

K, B, Z = 2, 7, 3
GRID = {2: [0.0, 1.0], 17: np.linspace(-4, 12, 17).tolist(), 256: np.linspace(0, 1, 256).tolist()}


def logistic_bins(bins: int, scale: str) -> tuple[type, dict[str, Any], Any]:
    low, high = (-4.0, 12.0) if bins == 17 else (0.0, 1.0)
    return likelihoods.DiscretizedLogistic, {"bins": bins, "low": low, "high": high, "scale": scale}, GRID[bins]


# name -> (class, arguments besides network and shape, the support of one entry: its values, or None for the real line)
LIKELIHOODS = {
    "bernoulli": (likelihoods.Bernoulli, {}, [0.0, 1.0]),
    "categorical, 2": (likelihoods.Categorical, {"categories": 2}, [0.0, 1.0]),
    "categorical, 5": (likelihoods.Categorical, {"categories": 5}, range(5)),
    "gaussian, fixed": (likelihoods.Gaussian, {"scale": 0.3}, None),
    "gaussian, shared": (likelihoods.Gaussian, {"scale": "shared"}, None),
    "gaussian, entry": (likelihoods.Gaussian, {"scale": "entry"}, None),
    "gaussian, network": (likelihoods.Gaussian, {"scale": "network"}, None),
    "gaussian, optimal": (likelihoods.Gaussian, {"scale": "optimal"}, None),
    "ordinal, 2": (likelihoods.Ordinal, {"bins": 2}, [0.0, 1.0]),
    "ordinal, 5": (likelihoods.Ordinal, {"bins": 5}, [0.0, 0.25, 0.5, 0.75, 1.0]),
    "low-rank-categorical": (likelihoods.LowRankCategorical, {"categories": 5, "rank": 3}, range(5)),
    "laplace, fixed": (likelihoods.Laplace, {"scale": 0.3}, "line"),
    "laplace, network": (likelihoods.Laplace, {"scale": "network"}, "line"),
    "laplace, entry": (likelihoods.Laplace, {"scale": "entry"}, "line"),
    "student-t, cauchy": (likelihoods.StudentT, {"scale": 0.3, "df": 1}, "line"),
    "student-t, shared": (likelihoods.StudentT, {"scale": "shared"}, "line"),
    "student-t, network": (likelihoods.StudentT, {"scale": "network", "df": "entry"}, "line"),
    "continuous-bernoulli": (likelihoods.ContinuousBernoulli, {}, "unit"),
    "poisson": (likelihoods.Poisson, {}, "counts"),
    "negative-binomial, fixed": (likelihoods.NegativeBinomial, {"dispersion": 0.4}, "counts"),
    "negative-binomial, shared": (likelihoods.NegativeBinomial, {"dispersion": "shared"}, "counts"),
    "negative-binomial, network": (likelihoods.NegativeBinomial, {"dispersion": "network"}, "counts"),
    "zero-inflated-poisson": (likelihoods.ZeroInflatedPoisson, {}, "counts"),
    "zero-inflated-nb, entry": (likelihoods.ZeroInflatedNegativeBinomial, {}, "counts"),
    "zero-inflated-nb, network": (likelihoods.ZeroInflatedNegativeBinomial, {"dispersion": "network"}, "counts"),
    "mixture 1 of 2": (likelihoods.LogisticMixture, {"components": 1, "bins": 2}, GRID[2]),
    "mixture 3 of 17": (
        likelihoods.LogisticMixture,
        {"components": 3, "bins": 17, "low": -4.0, "high": 12.0},
        GRID[17],
    ),
    "mixture 10 of 256": (likelihoods.LogisticMixture, {"bins": 256}, GRID[256]),
    "logistic 2, network": logistic_bins(2, "network"),
    "logistic 17, network": logistic_bins(17, "network"),
    "logistic 17, entry": logistic_bins(17, "entry"),
    "logistic 256, network": logistic_bins(256, "network"),
    "logistic 256, shared": logistic_bins(256, "shared"),
}
SHAPES = [(5,), (1, 2, 3), (3, 2, 1)]
MOST = 4000  # counts above it have no mass to speak of, for networks that say less than 4 in size


class Constant(nn.Module):
    """A network whose output is its weight, whatever the input: puts a likelihood at any parameter."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.value.expand(*z.shape[:-1], *self.value.shape)


def build(name: str, shape: tuple[int, ...], network: Callable[[tuple[int, ...]], nn.Module] | None = None):
    family, arguments, _ = LIKELIHOODS[name]
    outputs = family.outputs(shape, **arguments)
    made = network(outputs) if network else MLP(Z, outputs, (11,), "tanh")
    part = family(made, shape, **arguments).double()
    for parameter_name, parameter in part.named_parameters():
        if parameter_name == "log_scale":
            assign(parameter, 0.3 * np.random.default_rng(3).normal(size=parameter.shape))
    if getattr(part, "updates", False):
        part.variance.fill_(0.7)
    return part


def some_x(name: str, shape: tuple[int, ...], *lead: int) -> Tensor:
    support = LIKELIHOODS[name][2]
    if support in (None, "line"):
        return torch.randn(*lead, *shape, dtype=F64)
    if support == "unit":
        return torch.rand(*lead, *shape, dtype=F64)
    if support == "counts":
        return torch.randint(0, 9, (*lead, *shape)).double()
    values = torch.as_tensor(np.array(support, float))
    return values[torch.randint(len(values), (*lead, *shape))]
