"""Draws of real numbers with other tails than the Gaussian's, and the continuous Bernoulli."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, distributions
from torch.distributions import Distribution, Laplace, constraints

from ..noise import Noise
from .counts import gamma_quantile
from .reparameterize import register_draw

NEAR_ZERO = 0.02  # logits below it in size: series, exact to 1e-13 there


class ContinuousBernoulli(Distribution):
    """p(x) = exp(t x) t / (e^t - 1) for x in [0, 1]: the Bernoulli's exp(t x) with its normaliser over [0, 1].

    Shapes: logits t give the batch shape; the event is a scalar. Nats. Loaiza-Ganem & Cunningham 2019, eq. 5-7.

    >>> d = distributions.ContinuousBernoulli(torch.tensor(0.0))  # the uniform law
    >>> d.log_prob(torch.tensor(0.3)).item(), d.mean.item()
    (0.0, 0.5)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"logits": constraints.real}
    has_rsample = True

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        # t away from 0, for the branch that divides by it; neither branch may overflow where the other is taken
        self._far = torch.where(logits.abs() < NEAR_ZERO, 1.0, logits)
        super().__init__(logits.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return t x - log((e^t - 1) / t), (*batch)."""
        t, size = self.logits, self._far.abs()
        far = self._far.relu() + torch.log(-torch.expm1(-size) / size)
        near = t / 2 + t * t / 24 - t**4 / 2880
        return t * value - torch.where(t.abs() < NEAR_ZERO, near, far)

    @property
    def mean(self) -> Tensor:
        """E[x] = 1 / (1 - e^-t) - 1 / t."""
        t, size = self.logits, self._far.abs()
        upper = 1 / -torch.expm1(-size) - 1 / size  # for t > 0; E[x] at -t is 1 - E[x] at t
        far = torch.where(t > 0, upper, 1 - upper)
        return torch.where(t.abs() < NEAR_ZERO, 0.5 + t / 12 - t**3 / 720, far)

    def icdf(self, u: Tensor) -> Tensor:
        """Return log(1 + u (e^t - 1)) / t, the value below which a share u of the mass lies."""
        t, size = self.logits, self._far.abs()
        v = torch.where(t > 0, 1 - u, u)  # the law at -t is the mirror image of that at t
        low = -torch.log1p(v * torch.expm1(-size)) / size
        far = torch.where(t > 0, 1 - low, low)
        near = u + t * u * (1 - u) / 2 * (1 + t * (1 - 2 * u) / 3)
        return torch.where(t.abs() < NEAR_ZERO, near, far)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Refuse: noise is explicit here."""
        raise NotImplementedError("ContinuousBernoulli draws through distributions.draw(d, samples, noise).")


class StudentT(distributions.StudentT):
    """torch's, without the law that it holds to draw from, whose arguments it looks at whatever it was told.

    >>> distributions.StudentT(torch.tensor([1.0, 3.0]), torch.zeros(2), torch.ones(2)).mean
    tensor([nan, 0.])
    """

    def __init__(self, df: Tensor, loc: Tensor, scale: Tensor) -> None:
        self.df, self.loc, self.scale = torch.broadcast_tensors(df, loc, scale)
        Distribution.__init__(self, self.df.shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> StudentT:
        """Return the same law for more rows."""
        return StudentT(*(value.expand(batch_shape) for value in (self.df, self.loc, self.scale)))

    @property
    def mean(self) -> Tensor:
        """The location; NaN where df <= 1."""
        return torch.where(self.df > 1, self.loc, torch.nan)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Refuse: noise is explicit here."""
        raise NotImplementedError("StudentT draws through distributions.draw(d, samples, noise).")


@register_draw(ContinuousBernoulli)
def _continuous_bernoulli(d: ContinuousBernoulli, samples: int, noise: Noise) -> Tensor:
    return d.icdf(noise.uniform((samples, *d.batch_shape), d.logits))


@register_draw(Laplace)
def _laplace(d: Laplace, samples: int, noise: Noise) -> Tensor:
    u = noise.uniform((samples, *d.batch_shape), d.loc)
    return d.loc + d.scale * torch.where(u < 0.5, torch.log(2 * u), -torch.log(2 * (1 - u)))


@register_draw(distributions.StudentT)
@register_draw(StudentT)
def _student_t(d: distributions.StudentT, samples: int, noise: Noise) -> Tensor:
    """loc + scale eps sqrt(df / 2 / g) with g ~ Gamma(df / 2); differentiable in df as well, through the quantile."""
    shape = (samples, *d.batch_shape)
    half = (d.df / 2).expand(shape)
    g = gamma_quantile(half.detach(), noise.uniform(shape, d.loc)).to(half.dtype)
    # dg / da = -(dF / da) / p at fixed F: what torch knows as the gradient of a Gamma draw
    slope = torch._standard_gamma_grad(half.detach(), g)
    g = g + (half - half.detach()) * slope
    return d.loc + d.scale * noise.normal(shape, d.loc) * torch.sqrt(half / g)
