"""Files are whole, old or new, whatever fails."""

import os
from pathlib import Path

import pytest

from vaelab.durable import write_durably
from vaelab.errors import EnvironmentFault


def test_content_is_replaced_and_nothing_is_left_behind(tmp_path: Path) -> None:
    target = tmp_path / "model"
    write_durably(target, b"one")
    write_durably(target, b"two")
    assert target.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    target = tmp_path / "model"
    target.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(EnvironmentFault, match="No space left on device"):
        write_durably(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="No such file or directory"):
        write_durably(tmp_path / "none" / "model", b"x")
