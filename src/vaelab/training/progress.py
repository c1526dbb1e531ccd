"""How a run shows its progress: a moving bar on a terminal, one updating output in a notebook, else lines."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Protocol, Self

from .state import History

MODES = ("auto", "rich", "notebook", "plain", "off")


class _View(Protocol):
    """One way to show a line of figures and the share of the work that is done."""

    def show(self, line: str, share: float) -> None: ...
    def close(self) -> None: ...


def mode_here(asked: str = "auto") -> str:
    """Return how to show progress: as asked (or by VAELAB_PROGRESS), else by where stderr goes."""
    asked = os.environ.get("VAELAB_PROGRESS", asked) if asked == "auto" else asked
    if asked != "auto" and asked in MODES:
        return asked
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and "kernel" in type(shell).__module__:
        return "notebook"
    return "rich" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"


class Progress:
    """A context manager; `report` is what the loop calls with each record."""

    def __init__(self, mode: str = "auto") -> None:
        self.mode, self.start = mode_here(mode), time.perf_counter()
        self.view: _View = {"rich": _Bar, "notebook": _Cell, "plain": _Lines, "off": _Silence}[self.mode]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.view.close()

    def report(self, record: dict[str, Any], history: History) -> None:
        """Show one record of the loop."""
        best = " best" if history.best is record and "elbo" in record else ""
        figures = [
            f"epoch {record['epoch']}",
            "no step taken" if record["loss"] is None else f"loss {record['loss']:.2f}",
        ]
        if "elbo" in record:
            weighed = record["bound"] != record["elbo"]
            figures += [f"validation ELBO {record['elbo']:.2f}{'' if weighed else best}", f"KL {record['kl']:.2f}"]
            figures += [f"weighted bound {record['bound']:.2f}{best}"] if weighed else []
        if history.skipped:
            figures.append(f"{history.skipped} steps skipped")
        if history.halvings:
            figures.append(f"rate halved {history.halvings} x")
        self.view.show("  ".join(figures) + f"  {time_left(record['seconds'], record['progress'])}", record["progress"])

    def tick(self, share: float, what: str = "") -> None:
        """Show that a share of some other work is done; lines would be no help there."""
        if self.mode in ("rich", "notebook"):
            self.view.show(f"{what}  {time_left(time.perf_counter() - self.start, share)}", share)


def time_left(seconds: float, share: float) -> str:
    """Return "1:51 used, 4:10 left"."""
    left = seconds * (1 - share) / share if share > 0 else 0.0
    return f"{_clock(seconds)} used, {_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


class _Silence:
    def show(self, line: str, share: float) -> None:
        pass

    def close(self) -> None:
        pass


class _Lines(_Silence):
    """One line a report."""

    def show(self, line: str, share: float) -> None:
        print(line, file=sys.stderr, flush=True)


class _Bar(_Silence):
    """A bar that moves, by rich; it heeds NO_COLOR."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Rich

        self.rich = Rich(BarColumn(20), TextColumn("{task.description}"), console=Console(stderr=True), transient=False)
        self.task = self.rich.add_task("", total=1.0)
        self.rich.start()

    def show(self, line: str, share: float) -> None:
        self.rich.update(self.task, completed=share, description=line)

    def close(self) -> None:
        self.rich.stop()


class _Cell(_Silence):
    """One output of a notebook cell, updated in place."""

    def __init__(self) -> None:
        from IPython.display import display  # type: ignore[import-not-found, unused-ignore]

        self.handle = display({"text/plain": "starting"}, raw=True, display_id=True)

    def show(self, line: str, share: float) -> None:
        if self.handle is not None:
            self.handle.update({"text/plain": f"{100 * share:3.0f} %  {line}"}, raw=True)
