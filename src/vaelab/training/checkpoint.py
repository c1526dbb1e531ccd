"""The whole state of a run in one file, so that what was stopped goes on as if it had not been.

A container as of model files (no pickle, a digest over every byte) with two tensors of bytes: "state" holds all tensors
of the state, one after another, and "tree" the rest as JSON, which says where each of them lies. The checkpoint before
is kept beside the new one.
"""

from __future__ import annotations

import errno
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..durable import write_durably
from ..errors import EnvironmentFault, ModelFileError
from ..files.container import FORMAT, not_finite, pack, strict_json, unpack
from ..files.sniff import read_whole
from .state import State, Tree

FILE, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"
LEFTOVER = re.compile(r"\.[0-9a-f]{16}\.tmp")  # what a crash inside write_durably leaves behind
ALIGNED = 64  # bytes


def save_checkpoint(folder: Path, tree: Tree) -> bool:
    """Write the state of a run; False, and nothing is written, if its weights hold NaN or an infinity.

    The checkpoint before becomes checkpoint.previous.safetensors. What a crash left behind is cleared after that.
    Raises EnvironmentFault, both files then as they were.
    """
    weights = {str(i): t for i, t in enumerate(_weights(tree["now"]))}
    if not_finite(weights):
        return False
    data = to_bytes(tree)
    try:
        write_durably(folder / FILE, data, previous=folder / PREVIOUS)
    except EnvironmentFault as error:
        if getattr(error.__cause__, "errno", None) not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(folder).free
        where = f"while saving step {tree['state']['step']:,} in {folder}"
        raise EnvironmentFault(
            f"disk full {where} (need {len(data) / 1e6:.1f} MB, {free / 1e6:.1f} MB free)."
        ) from error
    for leftover in leftovers(folder):
        leftover.unlink(missing_ok=True)
    return True


def load_checkpoint(folder: Path) -> tuple[Tree | None, list[str]]:
    """Return the newest whole state in a folder (None if there is none), and what was wrong on the way to it."""
    notes = [f"{len(old)} temporary files of a crash in {folder} were ignored."] if (old := leftovers(folder)) else []
    found = [path for path in (folder / FILE, folder / PREVIOUS) if path.exists()]
    for path in found:
        try:
            tree = from_bytes(read_whole(path, path.stat().st_size), str(path))
            for weights in filter(None, (tree["now"], State.of(tree["state"]).good)):  # of another version, perhaps
                weights.setdefault("average", {})
        except EnvironmentFault:
            raise
        except (ModelFileError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            notes.append(f"this checkpoint cannot be used: {' '.join(str(error).split())}")
            continue
        if path.name == PREVIOUS:
            notes.append(f"going on from the checkpoint before it, of step {tree['state']['step']:,}.")
        return tree, notes
    return None, [*notes, "no checkpoint is whole: training starts over."] if found else notes


def remove_checkpoint(folder: Path) -> None:
    """Remove the state of a run, and what a crash left behind."""
    for path in (folder / FILE, folder / PREVIOUS, *leftovers(folder)):
        path.unlink(missing_ok=True)


def has_checkpoint(folder: Path) -> bool:
    """Whether a run in this folder was stopped and can go on."""
    return (folder / FILE).exists() or (folder / PREVIOUS).exists()


def leftovers(folder: Path) -> list[Path]:
    """Return the temporary files that a crash left in a folder."""
    return sorted(path for path in folder.glob(".*.tmp") if LEFTOVER.fullmatch(path.name))


def to_bytes(tree: Tree) -> bytes:
    """Return the state of a run as the content of its file."""
    tensors: list[Tensor] = []
    document = _flat(tree, tensors)
    parts = []
    for tensor in tensors:
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        parts += [raw, raw.new_zeros(-len(raw) % ALIGNED)]
    state = torch.cat(parts) if parts else torch.zeros(0, dtype=torch.uint8)
    text = torch.frombuffer(bytearray(_json(document)), dtype=torch.uint8)
    return pack({"state": state, "tree": text}, {"format": FORMAT, "kind": "checkpoint"})


def from_bytes(data: bytes, name: str) -> Tree:
    """Return what `to_bytes` was given. Raises ModelFileError, naming the file, for anything else."""
    contents = unpack(data, name)
    if contents.document.get("kind") != "checkpoint":
        raise ModelFileError(f"{name}: this is no checkpoint.")
    tensors = contents.tensors()
    return _deep(strict_json(bytes(tensors["tree"].numpy())), tensors["state"])


def _json(document: Any) -> bytes:
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()


def _flat(value: Any, tensors: list[Tensor], end: list[int] | None = None) -> Any:
    """Return `value` as JSON: a tensor as its type, shape and place, a number that JSON lacks as its name."""
    end = [0] if end is None else end
    if isinstance(value, dict):
        return {"of": {str(key): _flat(item, tensors, end) for key, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return [_flat(item, tensors, end) for item in value]
    if isinstance(value, Tensor):
        begin = end[0]
        size = value.numel() * value.element_size()
        end[0] += size + -size % ALIGNED
        tensors.append(value)
        return {"tensor": [str(value.dtype).removeprefix("torch."), list(value.shape), begin]}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _deep(value: Any, state: Tensor) -> Any:
    """Return what `_flat` was given."""
    if isinstance(value, list):
        return [_deep(item, state) for item in value]
    if not isinstance(value, dict):
        return value
    if "of" in value:
        return {key: _deep(item, state) for key, item in value["of"].items()}
    if "float" in value:
        return float(value["float"])
    name, shape, begin = value["tensor"]
    dtype = getattr(torch, name)
    size = math.prod(shape) * dtype.itemsize
    return state[begin : begin + size].view(dtype).reshape(shape).clone()


def _weights(now: Tree) -> list[Tensor]:
    return [*now["model"].values(), *now["objective"].values()]
