"""Moments of distributions that have them in no closed form: by fixed points, the same for every row."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..noise import stream

POINTS = 128


def points(size: int, like: Tensor, name: str = "points", count: int = POINTS) -> Tensor:
    """Return fixed points of N(0, I), (count, size): in pairs ±e, so of mean 0, and of variance 1 in each dimension.

    Moments of an affine image of independent dimensions are then exact.
    """
    half = torch.randn(count // 2, size, generator=stream(0, name), dtype=torch.float64)
    half = half / half.square().mean(0).sqrt()
    return torch.cat([half, -half]).to(like.device, like.dtype)


class FixedPointMoments(Distribution):
    """Mean and variance over fixed draws (128 for most), for encode and active units; never part of a bound."""

    def fixed_draws(self) -> Tensor:
        """Return draws at fixed points, (points, *batch, *event)."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """E[z] over the fixed draws."""
        return self.fixed_draws().mean(0)

    @property
    def variance(self) -> Tensor:
        """Var[z] over the fixed draws."""
        return self.fixed_draws().var(0, correction=0)
