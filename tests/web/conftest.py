"""Runs behind servers, for all tests of the web pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from served import Served, serving

import vaelab


@pytest.fixture(scope="session")
def digits() -> Iterator[Served]:
    run = vaelab.train("digits", latent_dim=4, hidden="32", epochs=8, progress="off")
    with serving(run) as served:
        yield served
