"""What all tests share. Being here, it also puts this folder on the path, so that any test may import `oracles`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

LAYERS_WITH_SHAPES = ("distributions", "networks", "models", "objectives", "evaluation")

# from here on every call into these layers is checked against the shapes in its signature
install_import_hook([f"vaelab.{layer}" for layer in LAYERS_WITH_SHAPES], "typechecker.check")


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


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, or a skip that says what is missing."""
    folder = os.environ.get("VAELAB_DATA")
    if not folder or not (Path(folder) / "tables").is_dir():
        pytest.skip("real data: set VAELAB_DATA to the folder that holds mnist/, frey_faces/ and tables/")
    return Path(folder)
