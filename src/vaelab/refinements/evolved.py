"""What leapfrog steps make of a Gaussian: draws that remember their log q, and know no other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..distributions.moments import FixedPointMoments, points
from ..errors import UsageError
from ..noise import Noise
from .base import LogJoint


class Evolved(FixedPointMoments, ABC):
    """z after the steps; a draw remembers log q(z_0) and what its momenta before and after add to it."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False
    only_own_draws: ClassVar[bool] = True
    name: ClassVar[str]

    def __init__(self, loc: Tensor, scale: Tensor, log_joint: LogJoint) -> None:
        self.loc, self.scale, self.log_joint = loc, scale, log_joint
        self.last: tuple[Tensor, Tensor] | None = None
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @abstractmethod
    def push(self, e: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and its log q for standard noise e behind z_0 and g behind the momentum, each (K, B, Z)."""

    def slope(self, z: Tensor, keep: bool) -> Tensor:
        """Return the gradient of log p(x, z) in z, with its graph or without."""
        if not z.requires_grad or not keep:
            z = z.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.log_joint(z).sum(), z, create_graph=keep)
        return slope

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the remembered log q of the latest draw; UsageError for anything else."""
        if self.last is None or value is not self.last[0]:
            raise UsageError(f"refine {self.name} knows log q(z | x) of its own draws only: use the pathwise gradient.")
        return self.last[1]

    def held(self) -> Evolved:
        """Refuse: the draw depends on the parameters all the way."""
        raise UsageError(f"refine {self.name}: log q(z | x) cannot be held; use the pathwise gradient.")

    def fixed_draws(self) -> Tensor:
        """Return 16 draws from fixed points, (16, *batch, Z)."""
        dims, lead = self.event_shape[0], [1] * len(self.batch_shape)
        each = (points(dims, self.loc, name, 16).reshape(-1, *lead, dims) for name in ("z", "momentum"))
        e, g = (some.expand(-1, *self.loc.shape) for some in each)
        return self.push(e, g)[0]


def evolve(d: Evolved, samples: int, noise: Noise) -> Tensor:
    """Return draws (K, B, Z), whose log q the distribution keeps: the rule of draws for each of its kinds."""
    shape = (samples, *d.loc.shape)
    d.last = d.push(noise.normal(shape, d.loc), noise.normal(shape, d.loc))
    return d.last[0]
