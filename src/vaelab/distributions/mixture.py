"""Mixtures of any family, drawn from explicit noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..noise import Noise
from .reparameterize import draw, register_draw

Pick = Callable[[Tensor], Distribution]
NUMBERS = 2**22  # of points times components times dimensions, in one pass


class Mixture(Distribution):
    """p(z) = sum_c w_c p_c(z), the same for every row.

    Shapes: log_weight (C,), log-weights that sum to one; components of batch shape (C,) and event shape (D,);
    `pick(k)` gives the components of the numbers k (n,), of batch shape (n,): what a draw needs of them. The mixture
    has batch shape () or what `expand` made it, event shape (D,). A draw is differentiable in the component that was
    picked, not in the weights.

    >>> centres = torch.tensor([[-3.0], [3.0]])
    >>> pick = lambda at: torch.distributions.Independent(torch.distributions.Normal(at, 1.0), 1)
    >>> p = distributions.Mixture(torch.tensor([0.5, 0.5]).log(), pick(centres), lambda k: pick(centres[k]))
    >>> p.mean, p.variance, round(p.log_prob(torch.tensor([3.0])).item(), 4)  # log N(0; 0, 1) - log 2
    (tensor([0.]), tensor([10.]), -1.6121)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False  # draws come from explicit noise: distributions.draw

    def __init__(
        self, log_weight: Tensor, components: Distribution, pick: Pick, batch_shape: Sequence[int] = ()
    ) -> None:
        self.log_weight, self.components, self.pick = log_weight, components, pick
        super().__init__(torch.Size(batch_shape), components.event_shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Mixture:
        """Return the same mixture for each row of a batch."""
        return Mixture(self.log_weight, self.components, self.pick, batch_shape)

    @property
    def mean(self) -> Tensor:
        """E[z] = sum_c w_c E_c[z]."""
        return self._average(self.components.mean).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Var[z], the mean of the variances and the variance of the means, per dimension."""
        mean = self.components.mean
        within, between = self.components.variance, (mean - self._average(mean)).square()
        return self._average(within + between).expand(self.batch_shape + self.event_shape)

    def _average(self, value: Tensor) -> Tensor:
        return torch.tensordot(self.log_weight.exp(), value, dims=1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value), (*lead), for value (*lead, D): a few points at a time, so that many take no memory."""
        points = value.flatten(0, -2) if value.ndim > 1 else value.unsqueeze(0)
        at_once = max(1, NUMBERS // (len(self.log_weight) * value.shape[-1]))
        log_p = [
            (self.components.log_prob(z.unsqueeze(-2)) + self.log_weight).logsumexp(-1) for z in points.split(at_once)
        ]
        return torch.cat(log_p).reshape(value.shape[:-1])


@register_draw(Mixture)
def _mixture(d: Mixture, samples: int, noise: Noise) -> Tensor:
    """Pick a component by u, then draw from it."""
    lead = (samples, *d.batch_shape)
    u = noise.uniform(lead, d.log_weight).flatten()
    k = torch.searchsorted(d.log_weight.detach().exp().cumsum(0)[:-1].contiguous(), u.contiguous())
    return draw(d.pick(k), 1, _Folded(noise, lead)).reshape(*lead, *d.event_shape)


class _Folded(Noise):
    """Noise for one draw at K B rows, asked for as that of K draws at B rows."""

    def __init__(self, noise: Noise, lead: Sequence[int]) -> None:
        self.noise, self.lead = noise, tuple(lead)

    def _unfolded(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (*self.lead, *shape[2:]) if tuple(shape[:2]) == (1, math.prod(self.lead)) else tuple(shape)

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        return self.noise.normal(self._unfolded(shape), like).reshape(*shape)

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        return self.noise.uniform(self._unfolded(shape), like).reshape(*shape)
