"""Importing zuko without what it does to the process: it switches the validation of torch.distributions off."""

from __future__ import annotations

from types import ModuleType

from torch.distributions import Distribution

_loaded: ModuleType | None = None  # a compiled step reads it, and could not look through a cache


def zuko_transforms() -> ModuleType:
    """Return zuko.transforms, with torch's validation flag as it was before."""
    return _loaded or _load()


def _load() -> ModuleType:
    global _loaded
    before = Distribution._validate_args
    try:
        from zuko import transforms
    finally:
        Distribution.set_default_validate_args(before)
    _loaded = transforms
    return transforms
