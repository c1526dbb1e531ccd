"""Binary images whose pixels depend on those before them."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import UsageError
from ..noise import Noise, stream
from .moments import FixedPointMoments
from .reparameterize import register_draw

DRAWS = 32  # behind a mean


def causal(radius: int) -> int:
    """Return how many of the (radius + 1) (2 radius + 1) pixels above and beside a pixel come before it.

    >>> distributions.causal(1)  # three above, one beside
    4
    """
    return radius * (2 * radius + 1) + radius


class AutoregressiveBernoulli(FixedPointMoments):
    """P(x) = prod_i P(x_i | x_<i), logit_i = b + sum_w head_w silu(given_wi + sum_j kernel_wj x_j), j before i, near.

    Pixels come row by row; near is at most `radius` rows above and columns beside; outside the image x is 0. Shapes:
    given (*batch, W, H, V), kernel (W, causal(radius)), head (W,), b (). The batch shape is (*batch, H, V): log_prob of
    x (*batch, H, V) is by the chain rule that of each pixel given those before it. Their sum is the log-mass of the
    image, and so no pixel may be left out.

    >>> kernel, head, b = torch.randn(3, 4), torch.randn(3), torch.zeros(())
    >>> d = distributions.AutoregressiveBernoulli(torch.randn(3, 2, 2), kernel, head, b, radius=1)
    >>> images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).reshape(16, 2, 2)
    >>> round(d.log_prob(images).sum((1, 2)).exp().sum().item(), 5)
    1.0
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, given: Tensor, kernel: Tensor, head: Tensor, bias: Tensor, radius: int) -> None:
        self.given, self.kernel, self.head, self.bias, self.radius = given, kernel, head, bias, radius
        shape = given.shape[:-3] + given.shape[-2:]
        super().__init__(shape, validate_args=False)

    def _padded(self, x: Tensor) -> Tensor:
        return functional.pad(x, (self.radius, self.radius, self.radius, 0))

    def logits(self, x: Tensor) -> Tensor:
        """Return the logit of each pixel given those before it in x (*lead, H, V)."""
        # in the order of rows the causal places of the window are its first ones
        window = functional.pad(self.kernel, (0, self.radius + 1)).unflatten(1, (1, self.radius + 1, -1))
        flat = self._padded(x.reshape(-1, 1, *x.shape[-2:]))
        seen = functional.conv2d(flat, window).reshape(*x.shape[:-2], -1, *x.shape[-2:])
        hidden = functional.silu(self.given + seen)
        return (self.head @ hidden.flatten(-2)).unflatten(-1, x.shape[-2:]) + self.bias

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log P(x_i | x_<i), (*lead, H, V)."""
        logits = self.logits(value)
        return -functional.binary_cross_entropy_with_logits(logits, value.expand_as(logits), reduction="none")

    def sequence(self, u: Tensor) -> Tensor:
        """Return the images that are 1 where u (*lead, H, V) is below the mass, one pixel after another."""
        height, width = u.shape[-2:]
        x = self._padded(torch.zeros_like(u))
        for i in range(height):
            for j in range(width):
                window = x[..., i : i + self.radius + 1, j : j + 2 * self.radius + 1].flatten(-2)
                seen = window[..., : self.kernel.shape[1]] @ self.kernel.T
                logit = functional.silu(self.given[..., i, j] + seen) @ self.head + self.bias
                x[..., i + self.radius, j + self.radius] = (u[..., i, j] < torch.sigmoid(logit)).to(x)
        return x[..., self.radius :, self.radius : self.radius + width]

    def fixed_draws(self) -> Tensor:
        """Return 32 fixed draws, (32, *batch, H, V)."""
        u = torch.rand(DRAWS, *self.batch_shape[-2:], generator=stream(0, "points"), dtype=torch.float64)
        u = u.to(self.given).reshape(DRAWS, *[1] * (len(self.batch_shape) - 2), *self.batch_shape[-2:])
        return self.sequence(u.expand(DRAWS, *self.batch_shape))

    def check_mask(self, observed: Tensor) -> None:
        """Refuse a mask (*B, H, V) that leaves out any pixel."""
        if not bool(observed.all()):
            raise UsageError(
                "AutoregressiveBernoulli: a pixel is missing, and each depends on those before it. Use the likelihood "
                "bernoulli, or rows without gaps."
            )


@register_draw(AutoregressiveBernoulli)
def _autoregressive_bernoulli(d: AutoregressiveBernoulli, samples: int, noise: Noise) -> Tensor:
    return d.sequence(noise.uniform((samples, *d.batch_shape), d.given))
