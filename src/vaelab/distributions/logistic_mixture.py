"""Pixels whose values have several modes and whose colours depend on one another."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from ..errors import UsageError
from ..noise import Noise
from .discretized import DiscretizedLogistic
from .reparameterize import register_draw


class LogisticMixture(Distribution):
    """P(r, g, b) = sum_m pi_m P_m(r) P_m(g | r) P_m(b | r, g), each P_m a discretised logistic.

    Channel c of component m has location loc[c, m] + sum over d < c of coupling[cd, m] (x_d - centre), d the channels
    before it. Salimans et al. 2017 (PixelCNN++), eq. 1-3.

    Shapes: logits (*batch, M, *S), loc and log-free scale (*batch, C, M, *S), coupling (*batch, C (C - 1) / 2, M, *S),
    pairs in the order (1, 0), (2, 0), (2, 1), ...; S are the pixels. `pixels` is their number of dimensions. The batch
    shape is (*batch, C, *S), and log_prob of x (*batch, C, *S) is by the chain rule that of each channel given those
    before it: their sum over C is the log-mass of a pixel. So a mask may leave out whole pixels, or the last channels.
    With `grey`, C is 1 and x has no dimension for it: batch shape (*batch, *S).

    >>> d = distributions.LogisticMixture(torch.zeros(2, 1), torch.zeros(1, 2, 1), torch.ones(1, 2, 1),
    ...                                   torch.zeros(0, 2, 1), pixels=1, bins=5)
    >>> round(sum(d.log_prob(torch.full((1, 1), k / 4)).exp().item() for k in range(5)), 5)
    1.0
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"logits": constraints.real}
    has_rsample = False

    def __init__(
        self,
        logits: Tensor,
        loc: Tensor,
        scale: Tensor,
        coupling: Tensor,
        *,
        pixels: int,
        low: float = 0.0,
        high: float = 1.0,
        bins: int = 256,
        grey: bool = False,
    ) -> None:
        self.grey = grey
        self.logits, self.loc, self.scale, self.coupling = logits, loc, scale, coupling
        self.pixels, self.grid = pixels, {"low": low, "high": high, "bins": bins}
        self.centre = (low + high) / 2
        self.component = -1 - pixels  # the dimension of m
        self.channel = -2 - pixels  # the dimension of c in loc, scale and coupling
        self.channels = loc.shape[self.channel]
        shape = list(loc.shape)
        del shape[self.component]
        if grey:
            del shape[self.component]
        super().__init__(torch.Size(shape), validate_args=False)

    def _logistic(self, c: int, before: list[Tensor], pick: Tensor | None = None) -> DiscretizedLogistic:
        """Return P_m(x_c | channels before it) of all components (..., M, *S), or of the one picked for each pixel."""

        def of(values: Tensor, index: int) -> Tensor:
            chosen = values.select(self.channel, index)
            return chosen if pick is None else _picked(chosen, pick, self.component)

        loc = of(self.loc, c)
        first = c * (c - 1) // 2
        for d, x in enumerate(before):
            loc = loc + of(self.coupling, first + d) * (x - self.centre)
        return DiscretizedLogistic(loc, of(self.scale, c), **self.grid)  # type: ignore[arg-type]

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log P(x_c | x_0 .. x_{c-1}), (*batch, C, *S)."""
        x = [v.unsqueeze(self.component) for v in ([value] if self.grey else value.unbind(self.component))]
        joint = torch.log_softmax(self.logits, self.component)  # log pi_m P_m(channels so far)
        total, out = torch.zeros_like(joint.select(self.component, 0)), []
        for c in range(self.channels):
            joint = joint + self._logistic(c, x[:c]).log_prob(x[c])
            so_far = joint.logsumexp(self.component)
            out.append(so_far - total)
            total = so_far
        return self._joined(out)

    def _joined(self, channels: list[Tensor]) -> Tensor:
        return channels[0] if self.grey else torch.stack(channels, self.component)

    def check_mask(self, observed: Tensor) -> None:
        """Refuse a mask (*B, C, *S) in which a channel is observed whose predecessor is not."""
        seen = observed.movedim(self.component, 0)
        if not self.grey and bool((seen[1:] & ~seen[:-1]).any()):
            raise UsageError(
                "LogisticMixture: a channel is observed while one before it is not; the channels of a pixel depend on "
                "one another. Leave out whole pixels, or use the likelihood discretized-logistic."
            )

    @property
    def mean(self) -> Tensor:
        """E[x], each component's later channels taken at its mean of those before them.

        That is exact for the first channel, and for the others up to what the two ends of the grid cut off.
        """
        weight = torch.softmax(self.logits, self.component)
        means: list[Tensor] = []
        for c in range(self.channels):
            means.append(self._logistic(c, means).mean)
        return self._joined([(weight * m).sum(self.component) for m in means])


def _picked(values: Tensor, pick: Tensor, dim: int) -> Tensor:
    """Return values (*batch, M, *S) at the component pick (K, *batch, *S), for each of K draws."""
    values = values.expand(pick.shape[0], *values.shape)
    return values.gather(dim, pick.unsqueeze(dim)).squeeze(dim)


@register_draw(LogisticMixture)
def _logistic_mixture(d: LogisticMixture, samples: int, noise: Noise) -> Tensor:
    """First a component for each pixel, then its channels one after the other."""
    weight = torch.softmax(d.logits, d.component)
    u = noise.uniform((samples, *weight.select(d.component, 0).shape), weight)
    last = weight.shape[d.component] - 1
    cumulative = weight.cumsum(d.component).narrow(d.component, 0, last)
    pick = (u.unsqueeze(d.component) > cumulative).sum(d.component)
    v = noise.uniform((samples, *d.batch_shape), weight)
    x: list[Tensor] = []
    for c in range(d.channels):
        x.append(d._logistic(c, x, pick).icdf(v if d.grey else v.select(d.component, c)))
    return d._joined(x)
