"""The protocol of refinements, and gradients where a caller has switched them off."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from ..errors import UsageError
from ..noise import Noise
from ..part import Part

LogJoint = Callable[[Tensor], Tensor]  # z (K, B, Z) -> log p(x, z), (K, B)


class Refinement(Part, ABC):
    """forward(q, log p(x, .), noise) -> a better q: the third argument of a model beside its posterior.

    >>> issubclass(refinements.Hamiltonian, refinements.Refinement)
    True
    """

    @abstractmethod
    def forward(self, q: Distribution, log_joint: LogJoint, noise: Noise) -> Distribution:
        """Return the refined q(z | x), of the same batch and event shape."""


@contextmanager
def gradients() -> Iterator[bool]:
    """Allow gradients with respect to z, also under no_grad and inference_mode; yield whether to keep their graph."""
    keep = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        yield keep


def plain(value: Any) -> Any:
    """Return a copy of a tensor made in inference mode, which no gradient may pass through; anything else as it is."""
    if not (isinstance(value, Tensor) and value.is_inference()):
        return value
    with torch.inference_mode(False):
        return value.clone()


def diagonal(q: Distribution, who: str) -> tuple[Tensor, Tensor]:
    """Return loc and scale (B, Z) of a diagonal Gaussian; UsageError by name for another family."""
    if not (isinstance(q, Independent) and isinstance(q.base_dist, Normal)):
        raise UsageError(f"refine {who} starts from the posterior gaussian, got a {type(q).__name__}.")
    return plain(q.base_dist.loc), plain(q.base_dist.scale)
