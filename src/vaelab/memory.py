"""How much goes through a model at once, and what becomes of the memory that tensors leave."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from functools import cache
from typing import Any

from torch.nn.modules.conv import _ConvNd

VALUES = 2**21  # of x in one pass: 8 MB, a share of the last cache; with fewer, calls cost more than sums
INSIDE = 8  # times that many are held inside a network of convolutions


@cache
def keep_freed_memory() -> None:
    """Let glibc keep what is freed, up to 256 MB: else each tensor of some MB is mapped and zeroed anew by the system.

    That was a third of the time of evaluating a perceptron and half of that of training a very deep model of images. It
    holds for the process from its first training or inference on; nothing is changed where the environment sets MALLOC_
    variables or GLIBC_TUNABLES of its own.
    """
    if sys.platform == "linux" and not any(name.startswith(("MALLOC_", "GLIBC_")) for name in os.environ):
        with suppress(OSError, AttributeError):  # another C library
            tell = ctypes.CDLL(None).mallopt
            tell(-3, 32 << 20)  # M_MMAP_THRESHOLD: what is larger is mapped, and given back, by itself
            tell(-1, 256 << 20)  # M_TRIM_THRESHOLD


def at_once(model: Any, values: int, most: int = VALUES) -> int:
    """Return how many units of so many values of x, rows or draws at rows, go through a model in one pass: 1 to `most`.

    Without gradients. The layers of convolutions are larger than x, so they get fewer: passes that leave the cache and
    map new memory took 2.5 times as long.

    >>> from vaelab.memory import at_once
    >>> at_once(networks.MLP(784, 2), 784), at_once(networks.Conv((1, 28, 28), 2), 784)
    (2674, 334)
    """
    inside = INSIDE if any(isinstance(module, _ConvNd) for module in model.modules()) else 1
    return max(1, min(most, VALUES // (inside * values)))
