"""Relaxed categories: points of a simplex, near its corners at low temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..noise import Noise
from .moments import FixedPointMoments, points
from .reparameterize import register_draw


class Concrete(FixedPointMoments):
    """z = softmax((logits + g) / temperature), g standard Gumbel: a density on the simplex, not on R^D.

    log q(z) = log (C-1)! + (C-1) log t + sum_k (l_k - (t + 1) log z_k) - C log sum_k exp(l_k - t log z_k) for each of V
    variables (Maddison et al. 2017, eq. 10; Jang et al. 2017, eq. 1), against the volume of the first C - 1 entries.
    Shapes: logits (*batch, V, C); event shape (V C,). An entry that rounds to zero counts as the smallest number.

    >>> q = distributions.Concrete(torch.zeros(1, 2), 1.0)
    >>> round(q.log_prob(torch.tensor([0.3, 0.7])).item(), 4)  # two equal categories at temperature 1: uniform
    0.0
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False  # draws come from explicit noise: distributions.draw
    measure: ClassVar[str] = "simplex"

    def __init__(self, logits: Tensor, temperature: float, batch_shape: Sequence[int] = ()) -> None:
        self.logits, self.temperature = logits, temperature
        batch = torch.Size(batch_shape) or logits.shape[:-2]
        super().__init__(batch, torch.Size([logits.shape[-2] * logits.shape[-1]]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Concrete:
        """Return the same distribution for each row of a batch."""
        return Concrete(self.logits, self.temperature, batch_shape)

    def push(self, u: Tensor) -> Tensor:
        """Return z for uniform u (*lead, V C)."""
        gumbel = -(-u.unflatten(-1, self.logits.shape[-2:]).log()).log()
        return ((self.logits + gumbel) / self.temperature).softmax(-1).flatten(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log q(value) for value (*lead, V C): (*lead)."""
        t, categories = self.temperature, self.logits.shape[-1]
        log_z = value.unflatten(-1, self.logits.shape[-2:]).clamp(min=torch.finfo(value.dtype).tiny).log()
        each = self.logits - t * log_z
        constant = math.lgamma(categories) + (categories - 1) * math.log(t)
        log_q = constant + (each - log_z).sum(-1) - categories * each.logsumexp(-1)
        return log_q.sum(-1)

    def fixed_draws(self) -> Tensor:
        """Return the images of 128 fixed points, (128, *batch, V C)."""
        size = self.event_shape[0]
        u = torch.special.ndtr(points(size, self.logits)).reshape(-1, *[1] * len(self.batch_shape), size)
        return self.push(u.expand(-1, *self.batch_shape, size))


@register_draw(Concrete)
def _concrete(d: Concrete, samples: int, noise: Noise) -> Tensor:
    return d.push(noise.uniform((samples, *d.batch_shape, *d.event_shape), d.logits))
