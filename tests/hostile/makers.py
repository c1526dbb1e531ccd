"""How hostile files are made: bytes with a digest that holds, so that the inner checks are what refuses them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

from torch import Tensor

from vaelab.files.container import pack

Case = tuple[str, bytes, str]  # its name, its bytes, words of the message that must refuse it

ESCAPE = "\x1b[31mred\x00\u202e../../etc/x"


def seal(header: bytes, body: bytes = b"") -> bytes:
    """Return a file with this header and a digest that holds; the first run of 64 zeros is where it goes."""
    data = struct.pack("<Q", len(header)) + header + body
    return data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1)


def forge(tensors: object = None, body: bytes = b"", document: object = None, raw: str | None = None) -> bytes:
    """Return a file with these entries of the header (or their text) and this document (or its text)."""
    text = raw if raw is not None else json.dumps(document or {"format": 1, "tree": {"m": 0}, "meta": {}})
    text = '{"digest":"' + "0" * 64 + '",' + text[1:]
    entries = tensors if isinstance(tensors, str) else json.dumps(tensors or {})[1:-1]
    joined = '{"__metadata__":{"vaelab":' + json.dumps(text) + "}" + (", " + entries if entries else "") + "}"
    return seal(joined.encode(), body)


def planned(tree: object, **tensors: Tensor) -> bytes:
    """Return a file with this tree of the module m and these tensors, sound but for them."""
    return pack(tensors, {"format": 1, "version": "0", "tree": {"m": tree}, "meta": {}})


def part(name: str, **arguments: object) -> dict[str, object]:
    return {"part": name, "arguments": arguments}


def entry(dtype: Any = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


class Bomb:
    """Whoever unpickles it leaves the file PWNED behind."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("touch PWNED",))


def made(write: Callable[[io.BytesIO], object]) -> bytes:
    """Return what `write` writes."""
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def zipped(name: str, content: bytes = b"x", method: int = zipfile.ZIP_STORED) -> bytes:
    def write(buffer: io.BytesIO) -> None:
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr(name, content)

    return made(write)


def tarred(name: str, content: bytes) -> bytes:
    def write(buffer: io.BytesIO) -> None:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

    return made(write)


def deep(n: int) -> str:
    return '{"format":1,"meta":{},"tree":' + "[" * n + "]" * n + "}"
