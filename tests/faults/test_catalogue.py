"""Every fault of the catalogue: right exit code, the item named on one line, no traceback, an unchanged folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from faults.catalogue import COMMANDS, DEMANDED, LIBRARY, Fault, Models, Place
from vaelab.cli import run

KINDS = (
    "tables",
    "large",
    "outputs",
    "mixed",
    "options",
    "images",
    "training",
    "doctor",
    "library",
    "library_use",
    "files",
)
for kind in KINDS:
    import_module(f"faults.{kind}")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def place(models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Place(folder, models)


def digest(folder: Path) -> str:
    """Return what a folder holds, as one hash of its names and contents."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        total.update(str(path.relative_to(folder)).encode() + b"\0")
        if path.is_file() and not path.is_symlink():
            total.update(path.read_bytes())
    return total.hexdigest()


@pytest.mark.parametrize("fault", COMMANDS, ids=lambda fault: f"{fault.number}-{fault.make.__name__}")
def test_command(fault: Fault, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = fault.make(place)
    before = digest(place.folder)
    capsys.readouterr()
    code = run(arguments)
    out, err = capsys.readouterr()
    assert code == fault.code, f"exit {code}: {err}"
    for words in fault.says:
        assert words in err, err
    assert "Traceback" not in err
    if code != 0:
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, err
        assert err.splitlines()[-1] == errors[0], "the error is the last thing said"
        assert digest(place.folder) == before, "a refused command must leave the folder as it was"
    if fault.check is not None:
        fault.check(place, out, err)


@pytest.mark.parametrize(("number", "test"), LIBRARY, ids=lambda value: getattr(value, "__name__", value))
def test_library(number: str, test: Callable[[Place], None], place: Place) -> None:
    test(place)


def test_every_entry_is_there() -> None:
    entered = {fault.number for fault in COMMANDS} | {number for number, _ in LIBRARY}
    missing = [number for number in DEMANDED if number not in entered]
    assert not missing, f"{len(DEMANDED) - len(missing)} of {len(DEMANDED)} entries; missing: {', '.join(missing)}"
    assert not entered - set(DEMANDED)
