"""The bytes of a model file: a safetensors file whose one metadata entry is a JSON document with a digest.

The document begins with its digest, so the digest has one fixed place: the SHA-256 of the whole file with 64
zeros there. It tells damage; it is no signature, for whoever can write a file can compute it. Nothing in a
file is used before the digest holds, and then the header is checked here, before the safetensors library sees
it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ..errors import ModelFileError
from .sniff import foreign, shown

JSON = Any  # None, bool, int, float, str, list[JSON] or dict[str, JSON]

FORMAT = 1
MAX_HEADER = 2**20  # bytes; 1,024 tensors with the longest names take a quarter of it
MAX_TENSORS = 1024
MAX_DIMENSIONS = 8
MAX_DEPTH = 32
NAME = re.compile(r"[A-Za-z0-9_.]{1,128}")
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}

BLANK = "0" * 64
START = b'{"__metadata__":{"vaelab":"{\\"digest\\":\\"'
_DIGEST = slice(8 + len(START), 8 + len(START) + len(BLANK))


@dataclass(frozen=True)
class Spec:
    """What the header says about one tensor: its type, shape and place, begin <= byte < end of the data."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Contents:
    """A file that passed every check of this module: its document, and what its tensors are."""

    document: dict[str, JSON]
    specs: dict[str, Spec]
    data: bytes

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the tensors, which owe nothing to the file or its bytes."""
        views = safetensors.torch.load(self.data)
        return {name: views.pop(name).clone() for name in self.specs}

    def not_finite(self) -> list[str]:
        """Return the names of the tensors that hold NaN or an infinity."""
        return not_finite(safetensors.torch.load(self.data))


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that hold NaN or an infinity, sorted."""
    return sorted(k for k, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all()))


def pack(tensors: Mapping[str, Tensor], document: Mapping[str, JSON]) -> bytes:
    """Return the bytes of a file: the same content gives the same bytes.

    `document` needs "format" and may hold any JSON; the tensors are on the CPU, contiguous and share no
    memory.
    """
    text = json.dumps({"digest": BLANK, **document}, allow_nan=False, separators=(",", ":"))
    data = bytearray(safetensors.torch.save(dict(tensors), {"vaelab": text}))
    if data[_DIGEST] != BLANK.encode():
        raise AssertionError("safetensors lays out its header in an unknown way")
    data[_DIGEST] = hashlib.sha256(data).hexdigest().encode()
    return bytes(data)


def unpack(data: bytes, where: str) -> Contents:
    """Check the bytes of a file; raise `ModelFileError`, with `where` in front, unless every check holds."""
    length = int.from_bytes(data[:8], "little")
    if data[8 : 8 + len(START)] != START:
        if data[8:9] != b"{" or length > len(data):
            if len(data) >= 8 and START.startswith(data[8:]) and len(START) < length <= MAX_HEADER:
                raise _cut_short(where, 8 + length - len(data))
            raise ModelFileError(f"{where}: not a model file: it is {foreign(data)}.")
        raise ModelFileError(f"{where}: a safetensors file, but not a model made by vaelab (or its start is damaged).")
    if length > MAX_HEADER:
        raise ModelFileError(f"{where}: its header claims {length:,} bytes; at most {MAX_HEADER:,} are read.")
    if 8 + length > len(data):
        raise _cut_short(where, 8 + length - len(data))
    if not _intact(data):
        raise ModelFileError(f"{where}: damaged: {_damage(data, length)}. Copy or download it again.")
    try:
        header = strict_json(data[8 : 8 + length])
        document = strict_json(header["__metadata__"]["vaelab"])
        _check_document(header, document)
        specs = {name: _spec(name, entry) for name, entry in header.items() if name != "__metadata__"}
        _check_layout(specs, len(data) - 8 - length)
        _check_booleans(specs, memoryview(data)[8 + length :])
    except ModelFileError as error:
        raise ModelFileError(f"{where}: {error}") from None
    return Contents(document, specs, data)


def _cut_short(where: str, missing: int) -> ModelFileError:
    return ModelFileError(f"{where}: damaged: at least {missing:,} bytes missing. Copy or download it again.")


def _intact(data: bytes) -> bool:
    digest = hashlib.sha256(data[: _DIGEST.start])
    digest.update(BLANK.encode())
    digest.update(memoryview(data)[_DIGEST.stop :])
    return digest.hexdigest().encode() == data[_DIGEST]


def _damage(data: bytes, length: int) -> str:
    """Say what is wrong with a file whose digest fails; its header is read for this sentence only."""
    try:
        header = strict_json(data[8 : 8 + length])
        end = max((_spec(name, entry).end for name, entry in header.items() if name != "__metadata__"), default=0)
    except ModelFileError:
        return "its content does not match its digest"
    missing = 8 + length + end - len(data)
    if missing == 0:
        return "its content does not match its digest"
    return f"{missing:,} bytes missing" if missing > 0 else f"{-missing:,} bytes too many at its end"


def strict_json(text: bytes | str) -> Any:
    """Parse an object of JSON; raise `ModelFileError` on duplicate keys, NaN, infinities and deep nesting."""
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ModelFileError(f"its JSON is nested deeper than {MAX_DEPTH} levels.") from None
    except ModelFileError:
        raise
    except ValueError as error:  # of the decoder, of the parser, or of an integer with too many digits
        raise ModelFileError(f"its JSON cannot be read: {shown(error, 120)}.") from None
    if not isinstance(value, dict):
        raise ModelFileError("its JSON is no object.")
    level: list[JSON] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in children(node)]
    if level:
        raise ModelFileError(f"its JSON is nested deeper than {MAX_DEPTH} levels.")
    return value


def children(node: JSON) -> Iterable[JSON]:
    """Return the values inside a JSON object or array; nothing for the rest."""
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def _unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise ModelFileError(f"the key {shown(twice)} occurs twice.")
    return result


def _no_constant(name: str) -> JSON:
    raise ModelFileError(f"its JSON holds {name}, which is not a number of JSON.")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ModelFileError(f"its JSON holds the number {shown(text)}, which is too large.")
    return number


def _check_document(header: dict[str, JSON], document: dict[str, JSON]) -> None:
    version = document.get("format")
    if type(version) is not int or not 1 <= version < 2**31:
        raise ModelFileError(f"its format version is {shown(version)}, expected a number from 1 to {FORMAT}.")
    if version > FORMAT:
        raise ModelFileError(
            f"made by version {version} of the format; this program reads up to {FORMAT}. Upgrade vaelab."
        )
    if not isinstance(document.get("meta", {}), dict) or not isinstance(document.get("version", ""), str):
        raise ModelFileError("its meta is no object, or its version no text.")
    if list(header["__metadata__"]) != ["vaelab"]:
        raise ModelFileError(f"unknown metadata {shown(list(header['__metadata__']))}, expected only 'vaelab'.")
    if len(header) - 1 > MAX_TENSORS:
        raise ModelFileError(f"it holds {len(header) - 1:,} tensors; at most {MAX_TENSORS:,} are read.")


def _natural(value: JSON) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _spec(name: str, entry: JSON) -> Spec:
    if not NAME.fullmatch(name):
        raise ModelFileError(f"a tensor is named {shown(name)}; letters, digits, '_' and '.' are allowed, 128 at most.")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"the entry of tensor {shown(name)} is not of the safetensors format.")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise ModelFileError(f"tensor {shown(name)} has type {shown(kind)}; known: {', '.join(DTYPES)}.")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(map(_natural, shape)):
        raise ModelFileError(f"tensor {shown(name)} has shape {shown(shape)}, expected at most {MAX_DIMENSIONS} sizes.")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_natural, offsets)):
        raise ModelFileError(f"tensor {shown(name)} has offsets {shown(offsets)}, expected two numbers.")
    size = math.prod(shape) * DTYPES[kind].itemsize
    if offsets[1] - offsets[0] != size:
        raise ModelFileError(f"tensor {shown(name)} has offsets {offsets}; its shape and type need {size:,} bytes.")
    return Spec(DTYPES[kind], tuple(shape), offsets[0], offsets[1])


def _check_layout(specs: Mapping[str, Spec], size: int) -> None:
    """Refuse holes, overlaps and a rest: each byte of the data belongs to exactly one tensor."""
    end = 0
    for name, spec in sorted(specs.items(), key=lambda item: (item[1].begin, item[1].end)):
        if spec.begin != end:
            what = "overlaps the tensor before it" if spec.begin < end else "leaves a hole before it"
            raise ModelFileError(f"tensor {shown(name)} {what} (offset {spec.begin:,}, expected {end:,}).")
        end = spec.end
    if end != size:
        what = f"damaged: {end - size:,} bytes missing" if end > size else f"{size - end:,} bytes too many at its end"
        raise ModelFileError(f"{what}.")


def _check_booleans(specs: Mapping[str, Spec], data: memoryview) -> None:
    # a truth value that is neither 0 nor 1 has no meaning, and torch does not look
    for name, spec in specs.items():
        if spec.dtype is torch.bool and bytes(data[spec.begin : spec.end]).translate(None, b"\0\1"):
            raise ModelFileError(f"tensor {shown(name)} has a truth value that is neither 0 nor 1.")
