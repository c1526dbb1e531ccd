"""What can go wrong, by whose doing, and the exit code that the command line gives it.

    VaelabError
    ├── UsageError         2   an option or argument cannot be used
    ├── DataError          3   the data cannot be used   (also a ValueError)
    ├── ModelFileError     4   a model file is refused or damaged
    ├── EnvironmentFault   5   disk, memory, permission, missing extra
    ├── TrainingError      6   training stopped: the loss is not finite
    └── VerificationError  7   a stated claim does not hold

Every message is one line: what, where, expected, got, and what to do.
"""

from __future__ import annotations

from typing import Any


class VaelabError(Exception):
    """The base of every error that vaelab raises on purpose."""

    exit_code = 1
    silent = False  # True where another process of the same training says what happened


class UsageError(VaelabError, ValueError):
    """An option or argument cannot be used."""

    exit_code = 2


class DataError(VaelabError, ValueError):
    """The data cannot be used."""

    exit_code = 3


class ModelFileError(VaelabError, ValueError):
    """A model file is refused or damaged."""

    exit_code = 4


class EnvironmentFault(VaelabError, RuntimeError):
    """The machine cannot do it: disk, memory, permission, device, a missing extra."""

    exit_code = 5


class LostProcess(EnvironmentFault):
    """One of several processes that train together is gone, so the others cannot go on."""


class TrainingError(VaelabError, RuntimeError):
    """Training stopped because the loss is not finite; `history` and `run` hold what was reached before."""

    exit_code = 6
    history: Any = None
    run: Any = None


class VerificationError(VaelabError, RuntimeError):
    """A stated claim does not hold."""

    exit_code = 7


def one_line(text: str) -> str:
    """Return a text as a terminal may show it: control characters and what is not printable escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def suggest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """Return " Did you mean X?" for the nearest known name, else the list of known names."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else f" Known: {', '.join(known)}."
