"""Real numbers with several modes, and with a value of its own mass."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

from ..noise import Noise
from .reparameterize import register_draw


class GaussianMixture(Distribution):
    """p(x) = sum_c w_c N(x; loc_c, scale_c²); with `spike` P(x = at) = sigmoid(spike), the density has the rest.

    Shapes: logits, loc, scale (*batch, C), spike (*batch) or None; the event is a scalar. log_prob is the log of a
    density in nats, but at x = `at` the log of a mass. mean is that of the density, or `at` where that is likelier.

    >>> d = distributions.GaussianMixture(torch.zeros(1), torch.zeros(1), torch.ones(1), torch.tensor(0.0), at=-9.0)
    >>> round(d.log_prob(torch.tensor(-9.0)).exp().item(), 6), round(d.log_prob(torch.tensor(0.0)).item(), 4)
    (0.5, -1.6121)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(
        self, logits: Tensor, loc: Tensor, scale: Tensor, spike: Tensor | None = None, *, at: float = 0.0
    ) -> None:
        self.logits, self.loc, self.scale, self.spike, self.at = logits, loc, scale, spike, at
        super().__init__(loc.shape[:-1], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x), (*batch)."""
        e = (value.unsqueeze(-1) - self.loc) / self.scale
        each = self.logits.log_softmax(-1) - self.scale.log() - 0.5 * (e * e + math.log(2 * math.pi))
        density = each.logsumexp(-1)
        if self.spike is None:
            return density
        return torch.where(value == self.at, F.logsigmoid(self.spike), F.logsigmoid(-self.spike) + density)

    @property
    def mean(self) -> Tensor:
        """The mean of the density; `at` where that has more than half the mass."""
        mean = (self.logits.softmax(-1) * self.loc).sum(-1)
        return mean if self.spike is None else torch.where(self.spike > 0, self.at, mean)


@register_draw(GaussianMixture)
def _gaussian_mixture(d: GaussianMixture, samples: int, noise: Noise) -> Tensor:
    shape = (samples, *d.batch_shape)
    cumulative = d.logits.softmax(-1).cumsum(-1)[..., :-1]
    k = (noise.uniform(shape, d.loc).unsqueeze(-1) > cumulative).sum(-1, keepdim=True)
    loc, scale = (v.expand(*shape, v.shape[-1]).gather(-1, k).squeeze(-1) for v in (d.loc, d.scale))
    x = loc + scale * noise.normal(shape, d.loc)
    if d.spike is None:
        return x
    return torch.where(noise.uniform(shape, d.loc) < torch.sigmoid(d.spike), d.at, x)
