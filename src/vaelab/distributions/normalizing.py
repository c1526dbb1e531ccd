"""Flows that make what they are given normal: the density in one pass, draws by the inverses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..noise import Noise
from .flow import Step
from .moments import FixedPointMoments, points
from .reparameterize import register_draw


class Normalizing(FixedPointMoments):
    """log p(z) = log N(f(z); 0, I) + log |det df/dz|, f = f_T ∘ ... ∘ f_1: the direction of density estimation.

    `Flow` is the other direction, of fast draws. Event shape (D,), batch shape as given: the same for each row; nats.

    >>> step = distributions.flow.Affine(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 3.0]))
    >>> p = distributions.Normalizing([step], 2, torch.zeros(()))
    >>> same = torch.distributions.Normal(torch.tensor([-2.0, -2 / 3]), torch.tensor([2.0, 1 / 3]))
    >>> z = distributions.draw(p, 3, Noise.seeded(0))
    >>> torch.allclose(p.log_prob(z), same.log_prob(z).sum(-1))
    True
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False  # draws come from explicit noise: distributions.draw

    def __init__(self, steps: Sequence[Step], dims: int, like: Tensor, batch_shape: Sequence[int] = ()) -> None:
        self.steps, self.like = tuple(steps), like
        super().__init__(torch.Size(batch_shape), torch.Size([dims]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Normalizing:
        """Return the same distribution for each row of a batch."""
        return Normalizing(self.steps, self.event_shape[0], self.like, batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value), (*lead), for value (*lead, D)."""
        e, log_det = value, value.new_zeros(value.shape[:-1])
        for step in self.steps:
            e, more = step.forward(e)
            log_det = log_det + more
        return log_det - 0.5 * (e.square() + math.log(2 * math.pi)).sum(-1)

    def pull(self, e: Tensor) -> Tensor:
        """Return z with f(z) = e (*lead, D)."""
        for step in reversed(self.steps):
            e = step.inverse(e)
        return e

    def fixed_draws(self) -> Tensor:
        """Return what 128 fixed points of N(0, I) come from, (128, *batch, D)."""
        dims = self.event_shape[0]
        z = self.pull(points(dims, self.like)).reshape(-1, *[1] * len(self.batch_shape), dims)
        return z.expand(-1, *self.batch_shape, dims)

    def held(self) -> Distribution:
        """Return the flow with the parameters of its steps detached."""
        return Normalizing([s.held() for s in self.steps], self.event_shape[0], self.like.detach(), self.batch_shape)


@register_draw(Normalizing)
def _normalizing(d: Normalizing, samples: int, noise: Noise) -> Tensor:
    return d.pull(noise.normal((samples, *d.batch_shape, *d.event_shape), d.like))
