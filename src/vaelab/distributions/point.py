"""A point mass: the posterior of a plain autoencoder."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints


class PointMass(Distribution):
    """q(z | x) = delta(z - value): every draw is `value`; there is no density.

    Shape: value (*batch, *event), the event being its last `event_dims` dimensions.

    >>> distributions.PointMass(torch.tensor([1.0, 2.0])).sample((3,)).shape
    torch.Size([3, 2])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"value": constraints.real}
    has_rsample = True
    has_density: ClassVar[bool] = False

    def __init__(self, value: Tensor, event_dims: int = 1) -> None:
        self.value = value
        split = value.ndim - event_dims
        super().__init__(value.shape[:split], value.shape[split:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The point itself."""
        return self.value

    @property
    def variance(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.value)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return the point, once per draw."""
        return self.value.expand(*sample_shape, *self.value.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Refuse: a point mass has no density."""
        raise NotImplementedError("PointMass has no density, so log q(z | x) and bounds on log p(x) are undefined.")
