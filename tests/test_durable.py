"""Durable writing: after any failure the old file is whole and nothing else is left."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vaelab import durable
from vaelab.errors import EnvironmentFault


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["open", "fsync", "chmod", "replace"])
def test_a_failed_write_leaves_the_old_file(
    call: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"old")

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(durable.os, call, fail)
        with pytest.raises(EnvironmentFault if isinstance(error, OSError) else KeyboardInterrupt):
            durable.write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        durable.write_durably(path, 3)  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_is_complete_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(durable.os, name, lambda *a, n=name, r=real: (calls.append(n), r(*a))[1])
    durable.write_durably(tmp_path / "m", b"new")
    assert calls == ["fsync", "replace", "fsync"]


def test_mode_and_links(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        durable.write_durably(tmp_path / "m", b"1")
        assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o640
        os.chmod(tmp_path / "m", 0o600)
        (tmp_path / "link").symlink_to("m")
        durable.write_durably(tmp_path / "link", b"2")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o600
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "m").read_bytes() == b"2"
    with pytest.raises(EnvironmentFault, match="cannot be written: No such file"):
        durable.write_durably(tmp_path / "none" / "m", b"")


def test_another_holder_of_the_file_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, refusals = os.replace, [PermissionError(13, "in use")] * 3

    def busy(*args: str) -> None:
        if refusals:
            raise refusals.pop()
        real(*args)

    monkeypatch.setattr(durable.os, "replace", busy)
    monkeypatch.setattr(durable, "WINDOWS", True)
    monkeypatch.setattr(durable.time, "sleep", lambda seconds: None)
    durable.write_durably(tmp_path / "m", b"new")
    assert (tmp_path / "m").read_bytes() == b"new"
