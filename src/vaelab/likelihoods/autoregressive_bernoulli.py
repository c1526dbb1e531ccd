"""Binary images, each pixel given z and the pixels just before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from ..distributions import AutoregressiveBernoulli as Chained
from ..distributions import causal
from ..errors import UsageError
from .base import Likelihood


class AutoregressiveBernoulli(Likelihood):
    """log p(x | z) = sum_i log P(x_i | z, pixels before i in a window), by one small hidden layer at each pixel.

    The window sees strokes, so that z is left to say what is where. Gulrajani et al. 2017 (PixelVAE), eq. 2; a window
    keeps z in use: Chen et al. 2017 (Variational Lossy Autoencoder), section 3. `radius` rows above and columns beside;
    `width` units at each pixel, their offsets given by the network: (*lead, width, H, V). Images of one channel, x 0 or
    1, without missing pixels. Generating goes pixel by pixel; E[x | z] is a mean over 32 fixed draws.

    >>> network = networks.MLP(2, likelihoods.AutoregressiveBernoulli.outputs((5, 4)))
    >>> px = likelihoods.AutoregressiveBernoulli(network, (5, 4))(torch.zeros(7, 2))
    >>> px.log_prob(torch.ones(7, 5, 4)).shape
    torch.Size([7])
    """

    discrete = True
    values = ("binary",)

    def __init__(self, network: nn.Module, shape: Sequence[int], radius: int = 3, width: int = 8) -> None:
        super().__init__(network, shape)
        if radius < 1 or width < 1:
            raise UsageError(f"AutoregressiveBernoulli: radius and width are at least 1, got {radius} and {width}.")
        if len(self.shape) not in (2, 3) or (len(self.shape) == 3 and self.shape[0] != 1):
            raise UsageError(f"AutoregressiveBernoulli is for images of one channel, not for x of shape {self.shape}.")
        self.radius, self.width = radius, width
        self.kernel = nn.Parameter(torch.empty(width, causal(radius)).uniform_(-1, 1) / math.sqrt(causal(radius)))
        self.head = nn.Parameter(torch.empty(width).uniform_(-1, 1) / math.sqrt(width))
        self.bias = nn.Parameter(torch.zeros(()))

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (width, H, V)."""
        return (arguments.get("width", 8), *shape[-2:])

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        offsets = self.parameters_at(given, condition)
        if len(self.shape) == 3:
            offsets = offsets.unsqueeze(-4)  # the channel of x
        law = Chained(offsets, self.kernel, self.head, self.bias, self.radius)
        return Independent(law, len(self.shape), validate_args=False)
