"""A real browser for the tests of the pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
PICTURES = os.environ.get("VAELAB_SCREENSHOTS")  # a folder: what the tests saw is left there


@contextmanager
def opened_browser() -> Iterator[Any]:
    """Start Chromium; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="browser tests: pip install playwright")
    if not CHROMIUM.exists():
        pytest.skip("browser tests: no /usr/bin/chromium (apt-get install)")
    with api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield made
        made.close()
