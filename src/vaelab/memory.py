"""How much memory is free, what goes through a model at once, and what becomes of the memory that tensors leave."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.conv import _ConvNd

VALUES = 2**21  # of x in one pass: 8 MB, a share of the last cache; with fewer, calls cost more than sums
CONTROL_GROUPS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
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


def free_bytes(device: torch.device, root: Path = Path("/")) -> int | None:
    """Return how much memory is free: on the accelerator, else of the machine and of this process's control group."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    limits = []
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            limits.append(int(line.split()[1]) * 1024)
    for most, used in CONTROL_GROUPS:
        group = root / "sys/fs/cgroup"
        limit, now = _lines(group / most), _lines(group / used)
        if limit and now and limit[0].isdigit():
            limits.append(int(limit[0]) - int(now[0]) + _reclaimable(group / most))
    return min(limits, default=None)


def _reclaimable(limit: Path) -> int:
    """Return the cached files that count as used, but are given up when memory is short."""
    fields = dict(line.split()[:2] for line in _lines(limit.with_name("memory.stat")))
    return int(fields.get("inactive_file", 0))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def gigabytes(size: float) -> str:
    """Return "1.2 GB" or "3.4 MB"."""
    return f"{size / 1e9:.1f} GB" if size > 1e8 else f"{size / 1e6:.1f} MB"
