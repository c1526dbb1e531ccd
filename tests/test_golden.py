"""Model files of every release load, and say what they said when they were made."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from vaelab import load
from vaelab.files import inspect

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(GOLDEN))
from make_golden import says  # noqa: E402

FILES = sorted(GOLDEN.glob("*.safetensors"))


def test_there_is_one_for_each_format() -> None:
    assert {inspect(file)["format"] for file in FILES} == {1}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_says_what_it_said(file: Path) -> None:
    then = np.load(file.with_suffix(".npz"))
    now = says(load(file))
    assert set(now) == set(then)
    for name in now:
        np.testing.assert_allclose(now[name], then[name], rtol=1e-6, atol=1e-9, err_msg=name)
