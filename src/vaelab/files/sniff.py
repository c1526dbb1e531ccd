"""What a file that is no model file looks like: told by its content, never by its name."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from ..errors import EnvironmentFault, ModelFileError

PICKLE = "a Python pickle. Pickles can run code when opened, so they are never read here"
PYTORCH = PICKLE.replace("a Python pickle", "a PyTorch file, a zip with a Python pickle in it", 1)

# A stream without the mark of protocol 2 and later: these are the ways in which it begins; it ends with ".".
_BARE_PICKLE = re.compile(
    rb"[(\])}NKMJGUTXBC\x82-\x84\x88-\x8c\x8e\x8f\x95\x96]|[FILPSVp][^\n]*\n|[ci][\w.]+\n[\w.]+\n"
)

_KINDS: list[tuple[re.Pattern[bytes], str]] = [
    (re.compile(rb"\x80[\x00-\x20]"), PICKLE),
    # the opcode GLOBAL or INST, module and name on lines of their own, and an opcode again: no text looks like that
    (re.compile(rb"(\(?[^\n]{0,40}\n|\(?)[ci][A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n([(\])}.Roq]|p\d)"), PICKLE),
    (re.compile(rb"PK(\x03\x04|\x05\x06|\x07\x08)"), "a zip archive"),
    (re.compile(rb"\x93NUMPY"), "a NumPy array file"),
    (re.compile(rb"\x89HDF\r\n\x1a\n"), "an HDF5 file"),
    (re.compile(rb"\x1f\x8b"), "a gzip file"),
    (re.compile(rb"BZh[1-9]"), "a bzip2 file"),
    (re.compile(rb"\xfd7zXZ\0"), "an xz file"),
    (re.compile(rb"\x5d\0\0[\0-\x80]"), "an lzma file"),
    (re.compile(rb"\x04\x22\x4d\x18"), "an LZ4 file"),
    (re.compile(rb"\x78[\x01\x5e\x9c\xda]"), "a zlib stream, in which joblib keeps pickles"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "a Zstandard file"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "a 7-Zip archive"),
    (re.compile(rb"(?s).{257}ustar"), "a tar archive"),
    (re.compile(rb"GGUF"), "a GGUF file"),
    (re.compile(rb"PAR1"), "a Parquet file"),
    (re.compile(rb"(?s).{4}TFL3"), "a TensorFlow Lite file"),
    (re.compile(rb"\x08[\x01-\x20][\x12\x1a\x22\x3a\x42]"), "an ONNX file"),
    (re.compile(rb"%PDF"), "a PDF document"),
    (re.compile(rb"\x7fELF|MZ|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe"), "a program"),
    (re.compile(rb"#!"), "a script"),
    (re.compile(rb"SQLite format 3\0"), "an SQLite database"),
    (re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8"), "an image"),
    (re.compile(rb"version https://git-lfs"), "a Git LFS pointer, not the file itself. Run git lfs pull"),
    (
        re.compile(rb"(\xef\xbb\xbf)?\s*<(!DOCTYPE|html|head|body|\?xml)", re.IGNORECASE),
        "a web page. The download may have failed: fetch the file again",
    ),
]


def shown(text: object, limit: int = 60) -> str:
    """Return a name from a file as it may be printed: quoted, control characters escaped, cut at `limit`."""
    quoted = repr(str(text)[: limit + 1])
    return quoted if len(quoted) <= limit else quoted[: limit - 1] + "…"


def foreign(data: bytes) -> str:
    """Return what `data`, which is no safetensors file, is instead: "a Python pickle. ..."."""
    if not data:
        return "empty. The download may have failed: fetch the file again"
    kind = next((kind for pattern, kind in _KINDS if pattern.match(data)), None)
    if kind is None:
        if data[-8:].rstrip()[-1:] == b"." and _BARE_PICKLE.match(data):
            return PICKLE
        if not data.strip(b"\0"):
            return "nothing but zeros. The copy or download may have failed: fetch the file again"
        return _text(data[:512]) or f"of an unknown kind (it starts with {shown(data[:8].decode('latin-1'))})"
    if kind == "a zip archive":
        if b".pkl" in data:
            return PYTORCH
        return "a NumPy archive (npz)" if b".npy" in data else kind
    return kind


def _text(head: bytes) -> str:
    # the last character may be cut in two, so it does not count
    text = head.decode("utf-8", errors="replace")[:-1] or head.decode("latin-1")
    plain = all(c.isprintable() or c in "\r\n\t" for c in text) and "\ufffd" not in text
    return f"text (it starts with {shown(text[:20])})" if plain else ""


def read_whole(path: Path, max_bytes: int) -> bytes:
    """Read a regular file once into memory; a pipe, a device or a folder is refused and never waited for.

    Raises `ModelFileError` if there is no such file, it is not a regular one or larger than `max_bytes`, and
    `EnvironmentFault` if the machine does not let it be read.
    """
    try:
        _regular(path, os.stat(path))
        # the file may be exchanged between the two looks: never block on what is there now, and look again
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            _regular(path, status)
            # Python reserves as much memory as it is asked to read: no more than there is, and a byte to see it grow
            data = file.read(min(status.st_size, max_bytes) + 1)
    except FileNotFoundError:
        raise ModelFileError(f"{path}: there is no such file.") from None
    except (OSError, MemoryError) as error:
        raise EnvironmentFault(f"{path} cannot be read: {getattr(error, 'strerror', None) or error!r}.") from error
    if len(data) > max_bytes:
        raise ModelFileError(
            f"{path}: larger than {max_bytes:,} bytes. If you trust it, load it with a higher max_bytes."
        )
    return data


def _regular(path: Path, status: os.stat_result) -> None:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    if not stat.S_ISREG(status.st_mode):
        kind = kinds.get(stat.S_IFMT(status.st_mode), "a device")
        raise ModelFileError(f"{path}: not a model file but {kind}. Name the file itself.")
