"""Normalising flows: N(0, I) carried through invertible steps, each with its log-determinant and its inverse."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..conditional import bounded
from ..noise import Noise
from .moments import FixedPointMoments, points
from .quiet import zuko_transforms
from .reparameterize import register_draw

Moved = tuple[Tensor, Tensor]  # where z goes (*lead, D), and log |det| of the Jacobian (*lead)
SHIFT = math.log(math.e - 1)  # softplus(SHIFT) = 1
BISECTIONS = 64


@dataclass(frozen=True, eq=False)
class Step:
    """An invertible map of z (*lead, D); its parameters (*batch, D) or (*batch, 1) broadcast against z."""

    def forward(self, z: Tensor) -> Moved:
        """Return f(z) and log |det df/dz|, (*lead) or what broadcasts to it."""
        raise NotImplementedError

    def inverse(self, y: Tensor) -> Tensor:
        """Return z with f(z) = y."""
        raise NotImplementedError

    def held(self) -> Step:
        """Return the same map with its parameters detached."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return dataclasses.replace(self, **{k: v.detach() for k, v in own.items() if isinstance(v, Tensor)})


@dataclass(frozen=True, eq=False)
class Affine(Step):
    """f(z) = loc + scale z, entry by entry."""

    loc: Tensor
    scale: Tensor

    def forward(self, z: Tensor) -> Moved:
        """Return f(z) and sum log scale."""
        return self.loc + self.scale * z, self.scale.log().sum(-1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return (y - loc) / scale."""
        return (y - self.loc) / self.scale


@dataclass(frozen=True, eq=False)
class Planar(Step):
    """f(z) = z + v tanh(w·z + b) (Rezende & Mohamed 2015, eq. 10), v so that w·v > -1 and f has an inverse.

    v = u + (m(w·u) - w·u) w / |w|² (their A.1), m(a) = softplus(a + log(e - 1)) - 1: as m(0) = 0, v stays bounded as
    w goes to 0. Along w the map is a -> a + (w·v) tanh(a + b), which rises: its inverse is found by bisection.
    """

    u: Tensor  # (*batch, D)
    w: Tensor  # (*batch, D)
    b: Tensor  # (*batch, 1)

    @property
    def _direction(self) -> Moved:
        wu = (self.w * self.u).sum(-1, keepdim=True)
        m = F.softplus(bounded(wu) + SHIFT) - 1
        norm = self.w.square().sum(-1, keepdim=True)
        return self.u + (m - wu) * self.w / (norm + torch.finfo(norm.dtype).tiny), m

    def forward(self, z: Tensor) -> Moved:
        """Return f(z) and log(1 + (w·v) (1 - tanh²))."""
        v, m = self._direction
        t = ((self.w * z).sum(-1, keepdim=True) + self.b).tanh()
        return z + v * t, torch.log1p(m * (1 - t * t)).squeeze(-1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return z: a root a of a + m tanh(a + b) = w·y lies within |m| of w·y."""
        v, m = self._direction
        target = (self.w * y).sum(-1, keepdim=True)
        with torch.no_grad():
            low, high = target - m.abs(), target + m.abs()
            for _ in range(BISECTIONS):
                a = (low + high) / 2
                above = a + m * (a + self.b).tanh() > target
                low, high = torch.where(above, low, a), torch.where(above, a, high)
        # one step of Newton's method carries the gradient of the root in all that it depends on
        slope = 1 + m * (1 - (a + self.b).tanh().square())
        a = a - (a + m * (a + self.b).tanh() - target) / slope.detach()
        return y - v * (a + self.b).tanh()


@dataclass(frozen=True, eq=False)
class Radial(Step):
    """f(z) = z + beta (z - centre) / (alpha + r), r = |z - centre| (Rezende & Mohamed 2015, eq. 14).

    alpha = exp(log_alpha) > 0 and beta = alpha (softplus(raw + log(e - 1)) - 1) > -alpha, so f has an inverse (A.2);
    raw = 0 is the identity.
    """

    centre: Tensor  # (*batch, D)
    log_alpha: Tensor  # (*batch, 1)
    raw: Tensor  # (*batch, 1)

    @property
    def _shape(self) -> Moved:
        alpha = bounded(self.log_alpha).exp()
        return alpha, alpha * F.softplus(bounded(self.raw) + SHIFT)  # alpha, alpha + beta

    def forward(self, z: Tensor) -> Moved:
        """Return f(z) and (D - 1) log(1 + beta h) + log(1 + alpha beta h²), h = 1 / (alpha + r)."""
        alpha, both = self._shape
        r = torch.linalg.vector_norm(z - self.centre, dim=-1, keepdim=True)
        h = 1 / (alpha + r)
        grow = (both + r) * h
        log_det = (z.shape[-1] - 1) * grow.log() + torch.log1p(alpha * (both - alpha) * h * h)
        return self.centre + grow * (z - self.centre), log_det.squeeze(-1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return z: its r is the positive root of r² + (alpha + beta - r') r - alpha r' = 0, r' = |y - centre|."""
        alpha, both = self._shape
        far = torch.linalg.vector_norm(y - self.centre, dim=-1, keepdim=True)
        half = both - far
        root = (half * half + 4 * alpha * far).sqrt()
        # of the two forms of the root, the one whose sum does not cancel
        up, down = half > 0, half <= 0
        r = torch.where(down, (root - half) / 2, 2 * alpha * far / torch.where(up, root + half, 1.0))
        return self.centre + (alpha + r) / (both + r) * (y - self.centre)


@dataclass(frozen=True, eq=False)
class Autoregressive(Step):
    """f(z)_i = g(z_i; theta_i), theta_i = network(z_<i, context): parallel forward, one dimension at a time back.

    "gate": g(z) = s z + (1 - s) m, s = sigmoid (Kingma et al. 2016, eq. 14); "affine": g(z) = m + exp(a) z
    (Papamakarios et al. 2017, eq. 4); "spline": a monotone rational-quadratic spline on [-5, 5], the identity outside
    (Durkan et al. 2019, section 3.1).
    """

    network: nn.Module
    context: Tensor | None
    kind: str
    reverse: bool  # whether z_<i are the later dimensions
    weights: dict[str, Tensor] | None = None  # those of the network, where they are held

    def _theta(self, z: Tensor) -> Tensor:
        if self.weights is None:
            return self.network(z, self.context)
        out: Tensor = torch.func.functional_call(self.network, self.weights, (z, self.context))
        return out

    def forward(self, z: Tensor) -> Moved:
        """Return f(z) and the sum of log g'."""
        theta = self._theta(z)
        if self.kind == "spline":
            y, log_slope = _spline(theta).call_and_ladj(z)
            return y, log_slope.sum(-1)
        if self.kind == "affine":
            log_slope = bounded(theta[..., 1])
            return theta[..., 0] + log_slope.exp() * z, log_slope.sum(-1)
        m, gate = theta[..., 0], theta[..., 1] + 2  # begins near the identity
        return gate.sigmoid() * z + (-gate).sigmoid() * m, F.logsigmoid(gate).sum(-1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return z, solved in the order of the dimensions: D calls of the network."""
        z = y
        dims = range(y.shape[-1])
        for i in reversed(dims) if self.reverse else dims:
            theta = self._theta(z)[..., i, :]
            if self.kind == "spline":
                solved = _spline_inverse(theta, y[..., i])
            elif self.kind == "affine":
                solved = (y[..., i] - theta[..., 0]) * (-bounded(theta[..., 1])).exp()
            else:
                gate = theta[..., 1] + 2
                solved = (y[..., i] - (-gate).sigmoid() * theta[..., 0]) / gate.sigmoid()
            here = torch.arange(y.shape[-1], device=y.device) == i
            z = torch.where(here, solved.unsqueeze(-1), z)
        return z

    def held(self) -> Step:
        """Return the same map with context and weights detached."""
        weights = {name: p.detach() for name, p in self.network.named_parameters()}
        context = None if self.context is None else self.context.detach()
        return dataclasses.replace(self, context=context, weights=weights)


def _spline(theta: Tensor) -> Any:
    bins = (theta.shape[-1] + 1) // 3
    return zuko_transforms().MonotonicRQSTransform(*theta.split([bins, bins, bins - 1], -1))


def _spline_inverse(theta: Tensor, y: Tensor) -> Tensor:
    """The closed form loses half of the digits; a step of Newton's method gives them back, and the gradient."""
    spline = _spline(theta)
    with torch.no_grad():
        z = spline.inv(y)
    again, log_slope = spline.call_and_ladj(z)
    solved: Tensor = z - (again - y) * (-log_slope.detach()).exp()
    return solved


class Flow(FixedPointMoments):
    """z = f_T(... f_1(e)), e ~ N(0, I): log q(z) = log N(e) - sum_t log |det df_t| (Rezende & Mohamed 2015, eq. 7).

    A draw remembers its log-density; elsewhere log_prob goes back through the inverses. Event shape (D,), batch shape
    as given; nats.

    >>> step = distributions.flow.Affine(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 3.0]))
    >>> q, same = distributions.Flow([step], 2), torch.distributions.Normal(step.loc, step.scale)
    >>> z = distributions.draw(q, 3, Noise.seeded(0))
    >>> torch.allclose(q.log_prob(z), same.log_prob(z).sum(-1))
    True
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False  # draws come from explicit noise: distributions.draw

    def __init__(
        self, steps: Sequence[Step], dims: int, batch_shape: Sequence[int] = (), like: Tensor | None = None
    ) -> None:
        self.steps, self.like = tuple(steps), torch.zeros(()) if like is None else like
        self.last: Moved | None = None
        super().__init__(torch.Size(batch_shape), torch.Size([dims]), validate_args=False)

    def push(self, e: Tensor) -> Moved:
        """Return z and log q(z) for base points e (*lead, D)."""
        log_q = -0.5 * (e.square() + math.log(2 * math.pi)).sum(-1)
        z = e
        for step in self.steps:
            z, log_det = step.forward(z)
            log_q = log_q - log_det
        return z, log_q

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log q(value), (*lead): remembered for this distribution's latest draw, else by the inverse."""
        if self.last is not None and value is self.last[0]:
            return self.last[1]
        e = value
        for step in reversed(self.steps):
            e = step.inverse(e)
        return self.push(e)[1]

    def fixed_draws(self) -> Tensor:
        """Return the images of 128 fixed base points, (128, *batch, D)."""
        dims = self.event_shape[0]
        e = points(dims, self.like).reshape(-1, *[1] * len(self.batch_shape), dims)
        return self.push(e.expand(-1, *self.batch_shape, dims))[0]

    def held(self) -> Flow:
        """Return the flow with the parameters of its steps detached."""
        return Flow([step.held() for step in self.steps], self.event_shape[0], self.batch_shape, self.like)


@register_draw(Flow)
def _flow(d: Flow, samples: int, noise: Noise) -> Tensor:
    z, log_q = d.push(noise.normal((samples, *d.batch_shape, *d.event_shape), d.like))
    d.last = z, log_q
    return z
