"""Progress: where it goes decides its form."""

from __future__ import annotations

import sys
import types

import pytest

from vaelab.training import History, Progress
from vaelab.training.progress import mode_here, time_left

RECORD = {"epoch": 3, "loss": 101.25, "bound": -99.5, "elbo": -99.5, "kl": 7.25, "seconds": 30.0, "progress": 0.25}


def test_time_left_is_what_the_share_says() -> None:
    assert time_left(30, 0.25) == "0:30 used, 1:30 left"
    assert time_left(3600, 0.5) == "1:00:00 used, 1:00:00 left"


def test_a_pipe_gets_one_line_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    history = History(best=RECORD)
    with Progress() as progress:
        progress.report(RECORD, history)
        progress.tick(0.5)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "epoch 3  loss 101.25  validation ELBO -99.50 best  KL 7.25  0:30 used, 1:30 left\n"


def test_skipped_steps_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("plain") as progress:
        progress.report(RECORD, History(skipped=2))
    assert "2 steps skipped" in capsys.readouterr().err


def test_off_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("off") as progress:
        progress.report(RECORD, History())
    assert capsys.readouterr() == ("", "")


def test_the_environment_decides_only_for_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAELAB_PROGRESS", "off")
    assert mode_here() == "off"
    assert mode_here("plain") == "plain"


def test_a_notebook_gets_one_output_that_is_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, data: dict[str, str], raw: bool) -> None:
            shown[-1] = data["text/plain"]

    def display(data: dict[str, str], raw: bool, display_id: bool) -> Handle:
        shown.append(data["text/plain"])
        return Handle()

    kernel = types.ModuleType("IPython")
    shell = type("ZMQInteractiveShell", (), {"__module__": "ipykernel.zmqshell"})()
    kernel.get_ipython = lambda: shell  # type: ignore[attr-defined]
    screen = types.ModuleType("IPython.display")
    screen.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setitem(sys.modules, "IPython.display", screen)
    with Progress() as progress:
        assert progress.mode == "notebook"
        for epoch in (1, 2, 3):
            progress.report({**RECORD, "epoch": epoch}, History())
    assert len(shown) == 1
    assert shown[0].startswith(" 25 %  epoch 3")
