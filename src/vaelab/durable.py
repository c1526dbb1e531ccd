"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import EnvironmentFault


def write_durably(path: Path, data: bytes) -> None:
    """Put `data` at `path`: after a crash the old content or the new one is there, never a part.

    Raises EnvironmentFault where the folder is missing, full or not writable; `path` is then untouched.
    """
    temporary: str | None = None
    try:
        # the same folder, so that the replacement is a rename within one file system
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _default_mode(path))
        os.replace(temporary, path)
        temporary = None
        _sync_folder(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EnvironmentFault(
            f"{path} cannot be written: {reason}. Choose another place or free space."
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _default_mode(path: Path) -> int:
    """Return the mode of the file that is replaced, else the usual one (mkstemp makes private files)."""
    return path.stat().st_mode & 0o777 if path.exists() else 0o644


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; Windows cannot open folders and needs no such step."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
