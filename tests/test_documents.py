"""The code in the documents runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import transcript

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", ["README.md", "docs/your-own.md", "docs/scikit-learn.md"])
def test_python_blocks_run_in_order(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each block runs; where a block of text follows it, that is what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, object] = {"__name__": "page"}
    blocks = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    with torch.random.fork_rng(devices=[]):
        for block, expected in blocks:
            exec(compile(block, page, "exec"), names)
            printed = capsys.readouterr().out
            assert not expected or transcript.differs(expected, printed) is None, printed


def test_the_first_hour_goes_as_it_is_told() -> None:
    assert not (wrong := transcript.follow(ROOT / "docs" / "first-hour.md")), "\n".join(wrong)


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("ELBO  -95.0 ± 0.25", "ELBO  -97.3 ± 0.41", True),
        ("ELBO  -95.0 ± 0.25", "ELBO  -100.3 ± 0.25", False),
        ("7 of 8 rows", "7 of 8 columns", False),
        ("z0,z1\n0.1,-2", "z0,z1\n0.2,-2.1", True),
        ("z0,z1\n0.1,-2", "z0,z2\n0.1,-2", False),
        ("3 rows\n...\nend", "3 rows\nmany 12\nlines\nend", True),
        ("3 rows", "three rows", False),
    ],
)
def test_a_transcript_compares_words_and_numbers(expected: str, got: str, same: bool) -> None:
    assert (transcript.differs(expected, got) is None) == same
