"""Counts: the negative binomial by its mean, zero inflation, and draws by quantiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, Poisson, constraints

from ..noise import Noise
from .reparameterize import draw, entries, register_draw

STIRLING = 16.0  # from here on Stirling's series, to 1/r^5, is exact to 1e-10


def log_rising(r: Tensor, x: Tensor) -> Tensor:
    """Return log Gamma(x + r) - log Gamma(r) for x >= 0, without the cancellation of two large numbers."""
    r, x = torch.broadcast_tensors(r, x)
    large = r > STIRLING
    small = torch.where(large, STIRLING, r)  # neither branch may overflow where the other is taken
    s = torch.where(large, r, STIRLING)
    series = x * torch.log(x + s) + (s - 0.5) * torch.log1p(x / s) - x + _tail(x + s) - _tail(s)
    return torch.where(large, series, torch.lgamma(x + small) - torch.lgamma(small))


def _tail(r: Tensor) -> Tensor:
    square = r * r
    return (1 / 12 - (1 / 360 - 1 / (1260 * square)) / square) / r


class NegativeBinomial(Distribution):
    """P(x) = Gamma(x + r) / (Gamma(r) x!) (r / (r + m))^r (m / (r + m))^x: mean m, variance m + m² / r.

    A Poisson count whose rate is a Gamma draw of shape r and mean m; r without bound is the Poisson itself.

    Shapes: log_mean and log_shape (log m, log r) broadcast to the batch shape; the event is a scalar. Nats.

    >>> d = distributions.NegativeBinomial(torch.tensor(2.0).log(), torch.tensor(3.0).log())
    >>> round(sum(d.log_prob(torch.tensor(float(x))).exp().item() for x in range(100)), 5)
    1.0
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"log_mean": constraints.real, "log_shape": constraints.real}
    has_rsample = False

    def __init__(self, log_mean: Tensor, log_shape: Tensor) -> None:
        self.log_mean, self.log_shape = torch.broadcast_tensors(log_mean, log_shape)
        super().__init__(self.log_mean.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log P(x), (*batch)."""
        r, logit = self.log_shape.exp(), self.log_mean - self.log_shape
        value = value.to(r.dtype)
        return log_rising(r, value) - torch.lgamma(value + 1) + r * F.logsigmoid(-logit) + value * F.logsigmoid(logit)

    @property
    def mean(self) -> Tensor:
        """The mean m."""
        return self.log_mean.exp()

    @property
    def variance(self) -> Tensor:
        """The variance m + m² / r."""
        return self.mean + (2 * self.log_mean - self.log_shape).exp()


class ZeroInflated(Distribution):
    """P(0) = g + (1 - g) B(0), P(x) = (1 - g) B(x) for x > 0: with probability g = sigmoid(logits) the count is 0.

    Shapes: base B with scalar events and logits broadcast to one batch shape. Nats. Lambert 1992, Zero-inflated
    Poisson regression, section 1.

    >>> base = torch.distributions.Poisson(torch.tensor(2.0))
    >>> d = distributions.ZeroInflated(base, torch.tensor(0.0))
    >>> round(d.log_prob(torch.tensor(0.0)).exp().item(), 4)  # 1/2 + 1/2 exp(-2)
    0.5677
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"logits": constraints.real}
    has_rsample = False

    def __init__(self, base: Distribution, logits: Tensor) -> None:
        shape = torch.broadcast_shapes(base.batch_shape, logits.shape)
        self.base, self.logits = base.expand(shape) if base.batch_shape != shape else base, logits.expand(shape)
        super().__init__(shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log P(x), (*batch)."""
        counted = F.logsigmoid(-self.logits) + self.base.log_prob(value)
        return torch.where(value == 0, torch.logaddexp(F.logsigmoid(self.logits), counted), counted)

    @property
    def mean(self) -> Tensor:
        """E[x] = (1 - g) E_B[x]."""
        return torch.sigmoid(-self.logits) * self.base.mean


def _smallest(enough: Callable[[Tensor], Tensor], high: Tensor) -> Tensor:
    """Return the smallest whole number 0 .. high for which `enough` holds, entry by entry, by bisection."""
    low, high = torch.full_like(high, -1.0), high.ceil()
    for _ in range(math.ceil(math.log2(high.max().item() + 2)) if high.numel() else 0):
        middle = torch.floor((low + high) / 2)
        good = enough(middle)
        low, high = torch.where(good, low, middle), torch.where(good, middle, high)
    return high


def poisson_quantile(rate: Tensor, u: Tensor) -> Tensor:
    """Return the smallest count x with P(X <= x) >= u, in float64; rate broadcasts to u."""
    rate, u = rate.double().expand(u.shape).clamp(min=1e-300), u.double()
    # P(X <= x) is the regularised upper incomplete gamma function of x + 1 at the rate
    return _smallest(lambda x: torch.special.gammaincc(x + 1, rate) >= u, rate + 40 * rate.sqrt() + 200)


def gamma_quantile(shape: Tensor, u: Tensor) -> Tensor:
    """Return y with P(Y <= y) = u for a Gamma of this shape and rate 1, in float64, by bisection of log y."""
    shape, u = shape.double().expand(u.shape), u.double()
    low = torch.full_like(u, -700.0)
    high = torch.log(shape + 40 * shape.sqrt() + 750)
    for _ in range(56):
        middle = (low + high) / 2
        below = torch.special.gammainc(shape, middle.exp()) < u
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return ((low + high) / 2).exp()


@register_draw(Poisson)
def _poisson(d: Poisson, samples: int, noise: Noise) -> Tensor:
    return poisson_quantile(d.rate.detach(), noise.uniform((samples, *d.batch_shape), d.rate)).to(d.rate.dtype)


@register_draw(NegativeBinomial)
def _negative_binomial(d: NegativeBinomial, samples: int, noise: Noise) -> Tensor:
    shape = (samples, *d.batch_shape)
    r, mean = d.log_shape.detach().double().exp(), d.log_mean.detach().double().exp()
    rate = gamma_quantile(r, noise.uniform(shape, d.log_mean)) * mean / r
    return poisson_quantile(rate, noise.uniform(shape, d.log_mean)).to(d.log_mean.dtype)


@register_draw(ZeroInflated)
def _zero_inflated(d: ZeroInflated, samples: int, noise: Noise) -> Tensor:
    zero = noise.uniform((samples, *d.batch_shape), d.logits) < torch.sigmoid(d.logits)
    return torch.where(zero, 0.0, draw(entries(d.base), samples, noise))
