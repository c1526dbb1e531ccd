"""A short load of 64 clients: nothing but answers, and refusals that say when to come again."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
explorer = pytest.importorskip("explorer", reason="benchmarks/ are not part of the package")


def test_sixty_four_clients_for_two_seconds() -> None:
    served = explorer.Served(explorer.explored(8, 2, 50, hidden=(8,)))
    try:
        asyncio.run(explorer.load(served, 2, 0.5))
        before = explorer.memory()
        statuses, waits, strays = asyncio.run(explorer.load(served, 2, 2.0))
        assert strays == 0
        assert set(statuses) <= {200, 503}
        assert waits
        assert explorer.memory() - before < 50, "megabytes"
    finally:
        assert served.close() < 5, "it stops within two seconds on an idle machine"
