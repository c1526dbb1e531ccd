"""Ctrl-C and SIGTERM ask a run to stop; a second time it stops at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

PATIENCE = 9.0  # seconds from SIGTERM to the end, whatever the run is doing: batch systems kill soon after


class Signals:
    """From `with` to its end, the first Ctrl-C or SIGTERM sets `asked` (the signal); the second ends the process.

    A run looks at `asked` between its steps. SIGTERM is given nine seconds: what is on disk is whole at any moment.
    Outside the main thread, where Python allows no handlers, nothing changes.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self.before: dict[int, Any] = {}
        self.timer: threading.Timer | None = None

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        if self.timer is not None:
            self.timer.cancel()
        for number, handler in self.before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + (self.asked or signal.SIGINT)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            raise SystemExit(128 + number)
        self.asked = number
        os.write(2, b"stopping after this step (again: at once)\n")  # a handler may interrupt a print
        if number == signal.SIGTERM:
            self.timer = threading.Timer(PATIENCE, os._exit, (self.exit_code,))
            self.timer.daemon = True
            self.timer.start()
