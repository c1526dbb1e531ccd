"""Paths through the latent space."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from ..errors import UsageError

PATHS = ("straight", "spherical")


def path_through(places: Tensor, steps: int, path: str = "straight") -> Tensor:
    """Return z(t) on the way from place to place: (P, D) -> ((P - 1) * steps + 1, D), every place included.

    straight   z(t) = (1 - t) a + t b
    spherical  z(t) = r(t) u(t), where u(t) = [sin((1 - t) w) a/|a| + sin(t w) b/|b|] / sin w turns from the direction
               of a to that of b at even speed, w the angle between them, and the radius r(t) = (1 - t)|a| + t|b| goes
               straight: in many dimensions the mass of a normal prior lies near a sphere, and a straight line leaves
               it (White 2016, "Sampling generative networks", section 2.1)

    Raises UsageError for fewer than two places, steps < 1, or opposite directions, between which no way is shortest.
    """
    if path not in PATHS:
        raise UsageError(f"path is {' or '.join(PATHS)}, got {path!r}.")
    if places.ndim != 2 or len(places) < 2:
        raise UsageError(f"a path needs at least two places (rows, dimensions), got shape {tuple(places.shape)}.")
    if steps < 1:
        raise UsageError(f"steps must be at least 1, got {steps}.")
    t = (torch.arange(steps, dtype=places.dtype) / steps).unsqueeze(1)
    way = _straight if path == "straight" else _spherical
    return torch.cat([*(way(a, b, t) for a, b in pairwise(places)), places[-1:]])


def _straight(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return (1 - t) * a + t * b


def _spherical(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    length_a, length_b = a.norm(), b.norm()
    if length_a == 0 or length_b == 0:
        return _straight(a, b, t)  # the origin has no direction
    u, v = a / length_a, b / length_b
    # by the half angle: exact for small and for nearly opposite directions alike
    angle = 2 * torch.atan2((u - v).norm(), (u + v).norm())
    if torch.pi - angle < 1e-6:
        raise UsageError("a spherical path between opposite directions is not unique. Use --path straight.")
    if angle < 1e-6:
        return _straight(a, b, t)
    turned = (torch.sin((1 - t) * angle) * u + torch.sin(t * angle) * v) / torch.sin(angle)
    return _straight(length_a, length_b, t) * turned
