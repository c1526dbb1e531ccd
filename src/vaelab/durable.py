"""Files that appear whole or not at all, also when the power goes."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import EnvironmentFault

WINDOWS = os.name == "nt"
RETRIES = 5  # Windows refuses to replace a file that a virus scanner or a sync client holds for a moment


def write_durably(path: Path, data: bytes, previous: Path | None = None) -> None:
    """Put `data` at `path`: after any failure the old file is whole and nothing else is left. See `writing`."""
    with writing(path, previous) as file:
        file.write(data)


@contextmanager
def writing(path: Path, previous: Path | None = None) -> Iterator[BinaryIO]:
    """Give a file to write to, which takes the place of `path` when all is written; after a failure it leaves no trace.

    With `previous`, the old file goes there once the new one is written: one of the two is whole at any moment.
    Temporary file in the same folder, fsync, rename, fsync of the folder. A link is followed, and stays a
    link. A new file gets the mode of the umask, an existing one keeps its own. Raises `EnvironmentFault`.
    """
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        try:
            mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
            # the umask belongs to the whole process: let the kernel apply it instead of reading it by setting it
            first = 0o666 if mode is None else 0o600
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, first)) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if mode is not None:
                os.chmod(temporary, mode)
            if previous is not None and path.exists():
                _replace(path, previous)
            _replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)  # gone already after a success
        sync_folder(path.parent)
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be written: {error.strerror or error}.") from error


def check_writable(folder: Path) -> None:
    """Raise EnvironmentFault if no file can be made in a folder: trying is the one sure way to know."""
    try:
        with tempfile.TemporaryDirectory(dir=folder):
            pass
    except OSError as error:
        raise EnvironmentFault(
            f"{folder} cannot be written to ({error.strerror or error}). Choose another place."
        ) from None


def _replace(temporary: Path, path: Path) -> None:
    for attempt in range(RETRIES):
        try:
            return os.replace(temporary, path)
        except PermissionError:
            if not WINDOWS or attempt == RETRIES - 1:
                raise
            time.sleep(0.05 * 2**attempt)
    raise AssertionError("unreachable")


def sync_folder(folder: Path) -> None:
    """Bring to the disk which files a folder holds, where the system can."""
    if WINDOWS:  # it cannot open a folder
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:  # the file is in place; some network file systems cannot do more
        if error.errno not in (errno.EINVAL, errno.EACCES, errno.ENOTSUP):
            raise
