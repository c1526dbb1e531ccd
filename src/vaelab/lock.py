"""One run in a folder at a time; one writer of a file at a time."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import EnvironmentFault

try:
    import fcntl
except ImportError:  # Windows: the file is there to be read, and nothing is refused
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


@contextmanager
def held(file: IO[Any]) -> Iterator[None]:
    """Hold the lock on an open file, after waiting for it: for a moment's writing. Windows has none: nobody waits."""
    if fcntl is None:
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        yield
        return
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


class Lock:
    """A lock on a folder, from `with` to its end. The kernel lets go of it when the process dies, however it dies.

    The file names the process and its host. Raises EnvironmentFault if another process holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.file: IO[str] | None = None

    def __enter__(self) -> Lock:
        while self.file is None:
            self.file = self._taken()
        self.file.seek(0)
        self.file.truncate()
        self.file.write(f"{os.getpid()} {platform.node()}\n")
        self.file.flush()
        return self

    def __exit__(self, *error: object) -> None:
        assert self.file is not None
        if fcntl is None:
            self.file.close()  # Windows removes no open file
        self.path.unlink(missing_ok=True)
        self.file.close()
        self.file = None

    def _taken(self) -> IO[str] | None:
        """Return the locked file; None if its owner removed it between opening and locking."""
        try:
            file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise EnvironmentFault(f"{self.path} cannot be written: {error.strerror or error}.") from error
        if fcntl is None:
            return file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            process, _, host = file.read().strip().partition(" ")
            file.close()
            who = f"process {process or 'unknown'}" + (f" on {host}" if host != platform.node() else "")
            raise EnvironmentFault(
                f"{self.path.parent} is in use by {who}. Wait for it, stop it, or use another --out."
            ) from None
        except OSError:
            return file  # a file system without locks
        try:
            same = os.path.samestat(os.fstat(file.fileno()), os.stat(self.path))
        except FileNotFoundError:
            same = False
        if not same:
            file.close()
            return None
        return file
