"""Runs behind servers, for all tests of the web pages."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest
from served import NASTY, Served, serving

import vaelab


@pytest.fixture(scope="session")
def digits() -> Iterator[Served]:
    run = vaelab.train("digits", latent_dim=4, hidden="32", epochs=8, progress="off")
    with serving(run) as served:
        yield served


@pytest.fixture(scope="session")
def table() -> Iterator[Served]:
    """A mixed table whose names and words are markup, under a prior that is no Gaussian."""
    rows = [(i % 7 + 0.25 * (i % 3), f"<b>{i % 3}</b>", i % 5) for i in range(120)]
    frame = pl.DataFrame(rows, schema=[NASTY, "word", "count"], orient="row")
    run = vaelab.train(frame, latent_dim=3, hidden="16", epochs=3, prior="mixture:components=3", progress="off")
    with serving(run) as served:
        yield served
