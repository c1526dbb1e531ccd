"""Tables whose columns are of different kinds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from ..distributions import Columns as Density
from ..errors import UsageError, suggest
from ..networks import Typed
from .base import Likelihood
from .bernoulli import Bernoulli
from .categorical import Categorical
from .counts import Counts
from .discretized_logistic import DiscretizedLogistic
from .gaussian import Gaussian
from .laplace import Laplace
from .negative_binomial import NegativeBinomial
from .poisson import Poisson
from .student_t import StudentT
from .zero_inflated import ZeroInflatedNegativeBinomial, ZeroInflatedPoisson

# kind -> family and its arguments: what can be learned is learned for each column by itself
FAMILIES: dict[str, tuple[type[Likelihood], dict[str, Any]]] = {
    "gaussian": (Gaussian, {"scale": "entry"}),
    "laplace": (Laplace, {"scale": "entry"}),
    "student-t": (StudentT, {"scale": "entry", "df": "entry"}),
    "bernoulli": (Bernoulli, {}),
    "categorical": (Categorical, {}),
    "discretized-logistic": (DiscretizedLogistic, {"scale": "entry"}),
    "poisson": (Poisson, {}),
    "negative-binomial": (NegativeBinomial, {"dispersion": "entry"}),
    "zero-inflated-poisson": (ZeroInflatedPoisson, {}),
    "zero-inflated-negative-binomial": (ZeroInflatedNegativeBinomial, {"dispersion": "entry"}),
}


@dataclass(frozen=True)
class _Group:
    """Columns of one kind: one part makes the laws of all of them."""

    family: type[Likelihood]
    arguments: dict[str, Any]
    columns: tuple[int, ...]

    @property
    def outputs(self) -> tuple[int, ...]:
        return self.family.outputs((len(self.columns),), **self.arguments)


class _Sliced(nn.Module):
    """The outputs of one network that belong to a group, in the shape that its part asks for."""

    def __init__(self, outputs: tuple[int, ...]) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, given: Tensor) -> Tensor:
        return given.unflatten(-1, self.outputs)


def _kinds(kinds: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(kinds.split("+")) if isinstance(kinds, str) else tuple(kinds)


def _groups(kinds: str | Sequence[str]) -> list[_Group]:
    listed = _kinds(kinds)
    groups = []
    for kind in dict.fromkeys(listed):
        name, equals, number = kind.partition("=")
        if name not in FAMILIES:
            raise UsageError(f"Columns: unknown kind {name!r}.{suggest(name, tuple(FAMILIES))}")
        family, arguments = FAMILIES[name]
        if bool(equals) != (family.levels is not None) or (equals and not number.isdecimal()):
            wanted = f"{name}=LEVELS, such as {name}=3" if family.levels else name
            raise UsageError(f"Columns: {kind!r} is written {wanted}.")
        levels = {family.levels: int(number)} if family.levels else {}
        columns = tuple(i for i, other in enumerate(listed) if other == kind)
        groups.append(_Group(family, {**arguments, **levels}, columns))
    return groups


class Columns(Likelihood):
    """p(x | z) = prod over columns i of p_i(x_i | z), each column of a kind of its own.

    `kinds` names the family of each column: gaussian, laplace, student-t, bernoulli, categorical=LEVELS,
    discretized-logistic=LEVELS, poisson, negative-binomial, zero-inflated-poisson, zero-inflated-negative-binomial; a
    sequence, or one text with + between them. What a family learns (a scale, a dispersion) it learns for each column.
    x holds one number per column: a code 0 .. LEVELS - 1 for categories, k / (LEVELS - 1) on a grid.

    Shapes: x (columns,); the network gives (*lead, outputs), all that the columns need, kind by kind. Nazábal et al.
    2020, Handling incomplete heterogeneous data using VAEs, eq. 3.

    >>> kinds = ("gaussian", "categorical=3", "poisson", "gaussian")
    >>> network = networks.Linear(2, likelihoods.Columns.outputs((4,), kinds=kinds))  # 2 means, 3 logits, 1 log rate
    >>> px = likelihoods.Columns(network, (4,), kinds=kinds)(torch.zeros(7, 2))
    >>> distributions.entries(px).log_prob(torch.zeros(7, 4)).shape
    torch.Size([7, 4])
    """

    def __init__(self, network: nn.Module, shape: Sequence[int], kinds: str | Sequence[str]) -> None:
        super().__init__(network, shape)
        self.kinds = kinds if isinstance(kinds, str) else tuple(kinds)
        if self.shape != (len(_kinds(kinds)),):
            raise UsageError(f"Columns: {len(_kinds(kinds))} kinds for rows of shape {self.shape}. Name one a column.")
        self.groups = _groups(kinds)
        self.parts = nn.ModuleList(
            group.family(_Sliced(group.outputs), (len(group.columns),), **group.arguments) for group in self.groups
        )
        self.discrete = all(group.family.discrete for group in self.groups)
        self.values = tuple(v for v in Likelihood.values if all(v in g.family.values for g in self.groups))

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (numbers that all columns need together,)."""
        return (sum(math.prod(group.outputs) for group in _groups(arguments["kinds"])),)

    @classmethod
    def _categories(cls, kinds: str | Sequence[str]) -> tuple[int, ...]:
        """Return what `networks.Typed` needs to know of each column."""
        out = [0] * len(_kinds(kinds))
        for group in _groups(kinds):
            for column in group.columns:
                out[column] = -1 if issubclass(group.family, Counts) else group.arguments.get("categories", 0)
        return tuple(out)

    @classmethod
    def seen(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (columns, with a place for each category,)."""
        return (sum(max(1, number) for number in cls._categories(arguments["kinds"])),)

    @classmethod
    def reader(cls, network: nn.Module, **arguments: Any) -> nn.Module:
        """Return a network that reads each column by its kind."""
        return Typed(network, cls._categories(arguments["kinds"]))

    def start(self, x: Tensor, rows: int) -> None:
        """Let each family start from its columns."""
        for group, part in zip(self.groups, self.parts):
            assert isinstance(part, Likelihood)
            part.start(x[:, group.columns], rows)

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        out = self.parameters_at(given, condition)
        slices = out.split([math.prod(group.outputs) for group in self.groups], -1)
        laws = [part(piece) for part, piece in zip(self.parts, slices)]
        return Independent(Density(laws, [group.columns for group in self.groups]), 1, validate_args=False)
