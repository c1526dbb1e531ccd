"""Tables whose columns are of different kinds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from ..distributions import Columns as Density
from ..errors import UsageError, suggest
from ..networks import Typed
from .base import Likelihood
from .bernoulli import Bernoulli
from .categorical import Categorical
from .discretized_logistic import DiscretizedLogistic
from .gaussian import Gaussian
from .gaussian_mixture import GaussianMixture
from .laplace import Laplace
from .low_rank_categorical import LowRankCategorical
from .negative_binomial import NegativeBinomial
from .ordinal import Ordinal
from .poisson import Poisson
from .student_t import StudentT
from .zero_inflated import ZeroInflatedNegativeBinomial, ZeroInflatedPoisson


@dataclass(frozen=True)
class _Kind:
    """A family with its arguments; `numbered` is the argument that "=N" gives, `read` how an encoder reads a column."""

    family: type[Likelihood]
    arguments: dict[str, Any] = field(default_factory=dict)
    numbered: str | None = None
    read: str = "number"
    alone: bool = False  # one part for each column: its parameters are too many, or of too many sorts, to be stacked


# what can be learned is learned for each column by itself
KINDS: dict[str, _Kind] = {
    "gaussian": _Kind(Gaussian, {"scale": "entry"}),
    "gaussian-mixture": _Kind(GaussianMixture, {}, "components"),
    "spike": _Kind(GaussianMixture, {"spike": True}, "components", "spike"),
    "laplace": _Kind(Laplace, {"scale": "entry"}),
    "student-t": _Kind(StudentT, {"scale": "entry", "df": "entry"}),
    "bernoulli": _Kind(Bernoulli),
    "ordinal": _Kind(Ordinal, {}, "bins", "grid"),
    "categorical": _Kind(Categorical, {}, "categories", "category"),
    "low-rank-categorical": _Kind(LowRankCategorical, {}, "categories", "category", alone=True),
    "discretized-logistic": _Kind(DiscretizedLogistic, {"scale": "entry"}, "bins", "grid"),
    "poisson": _Kind(Poisson, {}, None, "count"),
    "negative-binomial": _Kind(NegativeBinomial, {"dispersion": "entry"}, None, "count"),
    "zero-inflated-poisson": _Kind(ZeroInflatedPoisson, {}, None, "count"),
    "zero-inflated-negative-binomial": _Kind(ZeroInflatedNegativeBinomial, {"dispersion": "entry"}, None, "count"),
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


def _known(kind: str) -> tuple[_Kind, int | None]:
    """Return what a kind means, with its number. Raises UsageError."""
    name, equals, number = kind.partition("=")
    if name not in KINDS:
        raise UsageError(f"Columns: unknown kind {name!r}.{suggest(name, tuple(KINDS))}")
    known = KINDS[name]
    if bool(equals) != (known.numbered is not None) or (equals and not number.isdecimal()):
        wanted = f"{name}=NUMBER, such as {name}=3" if known.numbered else name
        raise UsageError(f"Columns: {kind!r} is written {wanted}.")
    return known, int(number) if equals else None


def _groups(kinds: str | Sequence[str]) -> list[_Group]:
    listed = _kinds(kinds)
    together: dict[tuple[str, int], list[int]] = {}
    for column, kind in enumerate(listed):
        together.setdefault((kind, column if _known(kind)[0].alone else 0), []).append(column)
    groups = []
    for (kind, _), columns in together.items():
        known, number = _known(kind)
        counted = {} if known.numbered is None else {known.numbered: number}
        groups.append(_Group(known.family, {**known.arguments, **counted}, tuple(columns)))
    return groups


class Columns(Likelihood):
    """p(x | z) = prod over columns i of p_i(x_i | z), each column of a kind of its own.

    `kinds` names the family of each column: gaussian, gaussian-mixture=MODES, spike=MODES (a mixture, and a value that
    has a mass of its own), laplace, student-t, bernoulli, ordinal=LEVELS, categorical=LEVELS,
    low-rank-categorical=LEVELS, discretized-logistic=LEVELS, poisson, negative-binomial, zero-inflated-poisson,
    zero-inflated-negative-binomial; a sequence, or one text with + between them. What a family learns (a scale, a
    dispersion) it learns for each column.
    x holds one number per column: a code 0 .. LEVELS - 1 for categories, k / (LEVELS - 1) on a grid.

    Shapes: x (columns,); the network gives (*lead, outputs), all that the columns need, kind by kind. Nazábal et al.
    2020, Handling incomplete heterogeneous data using VAEs, eq. 3.

    >>> kinds = ("gaussian", "categorical=3", "poisson", "gaussian")
    >>> network = networks.Linear(2, likelihoods.Columns.outputs((4,), kinds=kinds))  # 2 means, 3 logits, 1 log rate
    >>> px = likelihoods.Columns(network, (4,), kinds=kinds)(torch.zeros(7, 2))
    >>> distributions.entries(px).log_prob(torch.zeros(7, 4)).shape
    torch.Size([7, 4])
    """

    reads_missing = True

    def __init__(self, network: nn.Module, shape: Sequence[int], kinds: str | Sequence[str]) -> None:
        super().__init__(network, shape)
        self.kinds = _kinds(kinds)
        if self.shape != (len(_kinds(kinds)),):
            raise UsageError(f"Columns: {len(_kinds(kinds))} kinds for rows of shape {self.shape}. Name one a column.")
        self.groups = _groups(kinds)
        self.parts = nn.ModuleList(
            group.family(_Sliced(group.outputs), (len(group.columns),), **group.arguments) for group in self.groups
        )
        self.discrete = all(group.family.discrete for group in self.groups)
        self.values = (*(v for v in Likelihood.values if all(v in g.family.values for g in self.groups)), "mixed")

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (numbers that all columns need together,)."""
        return (sum(math.prod(group.outputs) for group in _groups(arguments["kinds"])),)

    @classmethod
    def _read(cls, kinds: str | Sequence[str]) -> tuple[str, ...]:
        """Return what `networks.Typed` needs to know of each column."""
        known = [_known(kind) for kind in _kinds(kinds)]
        return tuple(kind.read + (f"={number}" if kind.read == "category" else "") for kind, number in known)

    @classmethod
    def seen(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (numbers that all columns are read as together,)."""
        return (Typed.width(cls._read(arguments["kinds"])),)

    @classmethod
    def reader(cls, network: nn.Module, **arguments: Any) -> nn.Module:
        """Return a network that reads each column by its kind."""
        return Typed(network, cls._read(arguments["kinds"]))

    @classmethod
    def pathwise(cls, **arguments: Any) -> tuple[int, ...]:
        """Return the columns of real numbers whose law is a Gaussian, a Laplace or a Student-t."""
        groups = [group for group in _groups(arguments["kinds"]) if group.family in (Gaussian, Laplace, StudentT)]
        return tuple(sorted(column for group in groups for column in group.columns))

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
