"""Importing zuko without what it does to the process: it switches the validation of torch.distributions off."""

from __future__ import annotations

from functools import cache
from types import ModuleType

from torch.distributions import Distribution


@cache
def zuko_transforms() -> ModuleType:
    """Return zuko.transforms, with torch's validation flag as it was before."""
    before = Distribution._validate_args
    try:
        from zuko import transforms
    finally:
        Distribution.set_default_validate_args(before)
    return transforms
