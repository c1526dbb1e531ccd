"""Categories by the hundred thousand: logits of low rank, taken a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..noise import Noise
from .reparameterize import register_draw

NUMBERS = 2**24  # logits in one pass


class LowRankCategorical(Distribution):
    """P(c) = softmax(features . vectors + bias)[c]: a category is a vector of a few numbers.

    Shapes: features (*batch, R), vectors (C, R), bias (C,); the event is a scalar, 0 .. C - 1. Nats, of a mass. Logits
    are made for a few rows at a time, so that memory does not grow with rows times categories where nothing is learned.

    >>> d = distributions.LowRankCategorical(torch.zeros(7, 2), torch.zeros(5, 2), torch.zeros(5))
    >>> d.log_prob(torch.zeros(7)).exp()[0]
    tensor(0.2000)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, features: Tensor, vectors: Tensor, bias: Tensor) -> None:
        self.features, self.vectors, self.bias = features, vectors, bias
        super().__init__(features.shape[:-1], validate_args=False)

    def _each(self, of: Callable[[Tensor, Tensor], Tensor], beside: Tensor) -> Tensor:
        """Return of(logits (n, C), beside (n,)) for all rows, a few at a time."""
        shape = torch.broadcast_shapes(self.batch_shape, beside.shape)
        rows = self.features.expand(*shape, self.features.shape[-1]).reshape(-1, self.features.shape[-1])
        at_once = max(1, NUMBERS // len(self.bias))
        beside = beside.expand(shape).reshape(-1)
        parts = [
            of(some @ self.vectors.T + self.bias, other)
            for some, other in zip(rows.split(at_once), beside.split(at_once))
        ]
        return torch.cat(parts).reshape(shape) if parts else self.features.new_zeros(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log P(value), (*batch)."""

        def of(logits: Tensor, c: Tensor) -> Tensor:
            return logits.gather(-1, c.long().unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)

        return self._each(of, value.to(self.features.dtype))

    @property
    def mean(self) -> Tensor:
        """NaN: an average of categories means nothing."""
        return self.features.new_full(self.batch_shape, torch.nan)

    @property
    def mode(self) -> Tensor:
        """The most probable category."""
        return self._each(lambda logits, _: logits.argmax(-1).to(logits.dtype), self.features[..., 0])

    def icdf(self, u: Tensor) -> Tensor:
        """Return the number of cumulative probabilities below u."""

        def of(logits: Tensor, v: Tensor) -> Tensor:
            cumulative = logits.softmax(-1).cumsum(-1)[..., :-1].contiguous()
            return torch.searchsorted(cumulative, v.unsqueeze(-1)).squeeze(-1).to(logits.dtype)

        return self._each(of, u)


@register_draw(LowRankCategorical)
def _low_rank_categorical(d: LowRankCategorical, samples: int, noise: Noise) -> Tensor:
    return d.icdf(noise.uniform((samples, *d.batch_shape), d.features)).detach()
