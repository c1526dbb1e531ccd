"""What families with a location and a scale share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..conditional import bounded
from ..errors import UsageError
from .base import Likelihood

SOURCES = ("network", "shared", "entry")


def learned(part: Likelihood, name: str, source: float | str) -> None:
    """Give the part what `source` asks for: a parameter log_NAME, one in all or one per entry.

    Raises UsageError unless source is a positive number, "network", "shared" or "entry".
    """
    family = type(part).__name__
    if isinstance(source, str):
        if source not in SOURCES:
            raise UsageError(f"{family}: {name} is a number or one of {', '.join(SOURCES)}; got {source!r}.")
    elif not source > 0:
        raise UsageError(f"{family}: {name} must be positive, got {source}.")
    if source in ("shared", "entry"):
        setattr(part, f"log_{name}", nn.Parameter(torch.zeros(part.shape if source == "entry" else ())))


class LocationScale(Likelihood):
    """p(x | z) = f((x - mu(z)) / s) / s per entry, f the family's standard density.

    `scale` says where s comes from: a number (fixed), "shared" (one learned number), "entry" (one learned number per
    entry) or "network" (a function of z: one more output per entry, log s). log s is bounded to ±10.
    """

    discrete = False
    values = ("integer", "real")
    log_scale: Tensor

    def __init__(self, network: nn.Module, shape: Sequence[int], scale: float | str = "shared") -> None:
        super().__init__(network, shape)
        self.scale = scale
        learned(self, "scale", scale)

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return (2, *shape) if the network gives the scales, else shape."""
        return (2, *shape) if arguments.get("scale") == "network" else tuple(shape)

    def location_scale(self, z: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mu and s at z of shape (*lead, Z): (*lead, *shape), and what broadcasts to it."""
        out = self.parameters_at(z, condition)
        if self.scale == "network":
            loc, log_scale = out.unbind(-1 - len(self.shape))
            return loc, bounded(log_scale).exp()
        if isinstance(self.scale, str):
            return out, bounded(self.log_scale).exp()
        return out, out.new_tensor(self.scale)
