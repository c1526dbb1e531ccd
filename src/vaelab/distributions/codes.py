"""Discrete codes that look like points: a latent is a sequence of rows of one codebook, or of one for each place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..noise import Noise
from .kl import register_kl
from .reparameterize import register_draw

COMPARED = 2**24  # numbers in one pass


class NearestCode(Distribution):
    """q(k | x) = 1 for the codes k nearest to `encoded`: a point mass on codes, so log q = 0 there and -inf elsewhere.

    Shapes: encoded (*batch, G W), cut into G pieces; codebook (C, W), or (G, C, W) with one for each place; value
    (*batch, G W) holds the nearest codes and index (*batch, G) their numbers. Draws are exactly `value`, with `slope`
    times the gradient of `encoded` (straight through). van den Oord, Vinyals & Kavukcuoglu 2017, eq. 1-2.

    >>> q = distributions.NearestCode(torch.tensor([0.9, 0.2]), torch.tensor([[0.0], [1.0]]))
    >>> q.value, q.index, q.log_prob(q.value).item()
    (tensor([1., 0.]), tensor([1, 0]), 0.0)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False
    measure: ClassVar[str] = "codes"

    def __init__(self, encoded: Tensor, codebook: Tensor, slope: float = 1.0) -> None:
        self.encoded, self.codebook, self.slope = encoded, codebook, slope
        pieces = encoded.detach().unflatten(-1, (-1, codebook.shape[-1]))
        self.index = nearest(pieces, codebook.detach())
        self.value = rows_of(codebook, self.index).flatten(-2)
        super().__init__(encoded.shape[:-1], encoded.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The codes themselves."""
        return self.value.detach()

    @property
    def variance(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.encoded)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return 0 where value is these codes, else -inf."""
        same = (value == self.value).all(-1)
        return torch.where(same, 0.0, -torch.inf).to(self.encoded.dtype)


def nearest(pieces: Tensor, codebook: Tensor) -> Tensor:
    """Return the number of the code nearest to each piece (*lead, W): (*lead,); the last of lead has the codebooks."""
    along = (pieces.unsqueeze(-2) @ codebook.mT).squeeze(-2)
    distance = codebook.square().sum(-1) - 2 * along  # less |piece|², which moves no minimum
    return distance.argmin(-1)


def rows_of(codebook: Tensor, index: Tensor) -> Tensor:
    """Return the codes of these numbers (*lead, G): (*lead, G, W)."""
    if codebook.ndim == 2:
        return codebook[index]
    return codebook[torch.arange(len(codebook), device=index.device), index]


class CodeMasses(Distribution):
    """p(z) = prod_g p_g(k_g) over sequences of codes: batch shape (), event shape (G W,); log_prob is a log-mass.

    Shapes: codebook (C, W) or (G, C, W), log_mass (G, C). A value that is no sequence of codes has mass 0;
    equal codes add theirs.

    >>> p = distributions.CodeMasses(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.25, 0.75]]).log())
    >>> p.log_prob(torch.tensor([[1.0], [0.5]])).exp()
    tensor([0.7500, 0.0000])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False
    measure: ClassVar[str] = "codes"

    def __init__(self, codebook: Tensor, log_mass: Tensor, batch_shape: Sequence[int] = ()) -> None:
        self.codebook, self.log_mass = codebook, log_mass
        event = log_mass.shape[0] * codebook.shape[-1]
        super().__init__(torch.Size(batch_shape), torch.Size([event]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> CodeMasses:
        """Return the same masses for each row of a batch."""
        return CodeMasses(self.codebook, self.log_mass, batch_shape)

    @property
    def mean(self) -> Tensor:
        """E[z], the average of the codes."""
        return (self.log_mass.exp().unsqueeze(-2) @ self.codebook).flatten().expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Var[z] of each dimension."""
        square = (self.log_mass.exp().unsqueeze(-2) @ self.codebook.square()).flatten()
        return (square - self.mean.square()).clamp(min=0).expand(self.batch_shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-mass of value (*lead, G W), (*lead)."""
        rows = value.reshape(-1, len(self.log_mass), 1, self.codebook.shape[-1])
        block = max(1, COMPARED // (self.log_mass.numel() * self.codebook.shape[-1]))
        masses = []
        for some in rows.split(block):
            match = (some == self.codebook).all(-1)  # (rows, G, C)
            masses.append(torch.where(match, self.log_mass, -torch.inf).logsumexp(-1).sum(-1))
        return torch.cat(masses).reshape(value.shape[:-1])


@register_kl(NearestCode, CodeMasses)
def _code_masses(q: NearestCode, p: CodeMasses) -> Tensor:
    """KL of a point mass: -log p_g(k_g), one number for each of the G codes."""
    return -p.log_mass.expand(*q.index.shape, -1).gather(-1, q.index.unsqueeze(-1)).squeeze(-1)


@register_draw(NearestCode)
def _nearest(d: NearestCode, samples: int, noise: Noise) -> Tensor:
    """The codes to the last bit, as they are compared: what is added to them is exactly zero."""
    through = d.value.detach() + d.slope * (d.encoded - d.encoded.detach())
    return through.expand(samples, *through.shape)


@register_draw(CodeMasses)
def _masses(d: CodeMasses, samples: int, noise: Noise) -> Tensor:
    groups = d.log_mass.shape[0]
    u = noise.uniform((samples, *d.batch_shape, groups), d.codebook)
    cumulative = d.log_mass.exp().cumsum(-1)[..., :-1].to(u.dtype)
    return rows_of(d.codebook, (u.unsqueeze(-1) > cumulative).sum(-1)).flatten(-2)
