from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, or a skip that says what is missing."""
    folder = os.environ.get("VAELAB_DATA")
    if not folder or not (Path(folder) / "tables").is_dir():
        pytest.skip("real data: set VAELAB_DATA to the folder that holds mnist/, frey_faces/ and tables/")
    return Path(folder)
