"""What all tests share. Being here, it also puts this folder on the path, so that any test may import `oracles`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch


@contextmanager
def _untouched() -> Iterator[None]:
    before, dtype = torch.get_rng_state(), torch.get_default_dtype()
    yield
    assert torch.equal(torch.get_rng_state(), before), "the global random state was moved"
    assert torch.get_default_dtype() == dtype, "the default type was changed"


@pytest.fixture
def untouched():
    """A context in which neither the global generator nor the default type may move."""
    return _untouched


@pytest.fixture(autouse=True)
def _own_random_state() -> Iterator[None]:
    """Weights are initialised from torch's global generator: give every test the same one, and put it back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        yield
