"""Model files: the networks, how to build them and what they were made from, in one file that runs no code.

A file is a safetensors file with a JSON tree of parts and arguments, a format version and a SHA-256 digest.
The digest tells damage, it is no signature. No pickle is read and no name in a file is imported.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import __version__
from ..durable import write_durably
from ..errors import ModelFileError, UsageError
from .build import Decoder
from .container import FORMAT, JSON, NAME, Contents, Spec, not_finite, pack, unpack
from .sniff import read_whole, shown
from .tree import encode, named_tensors, transient_tensors

__all__ = ["inspect", "load", "save"]

MAX_BYTES = 4 * 2**30


def save(
    path: str | os.PathLike[str],
    modules: Mapping[str, nn.Module],
    meta: Mapping[str, JSON],
    *,
    registry: Mapping[str, type],
) -> None:
    """Write the modules to one file, whole or not at all: what `save` accepts, `load` can read.

    Kept: each parameter and persistent buffer once, bit for bit and contiguous; which part stands where, its
    arguments, and which modules and tensors are shared. A buffer that is not persistent is made anew by the
    constructor on loading. Modules that are no `Part` are kept as their tensors and class name alone. `meta`
    is any JSON, and comes back as it is, in its order. The same content gives the same bytes.

    `registry` names the classes that `load` will know. Raises `UsageError`, naming the path, for what a file
    cannot hold, and `EnvironmentFault` if it cannot be written.
    """
    for key in modules:
        if not NAME.fullmatch(key) or "." in key:
            raise UsageError(f"save: a module is named {shown(key)}; use letters, digits and '_'.")
    live = named_tensors(modules)
    for name, tensor in live.items():
        if torch.nn.parameter.is_lazy(tensor):
            raise UsageError(f"save: {name} has no shape yet; run the network once before saving it.")
        if not NAME.fullmatch(name):
            raise UsageError(f"save: a tensor is named {shown(name)}; use letters, digits, '_' and '.', 128 at most.")
    tree, theirs = encode(modules, registry)
    # copies, for safetensors refuses tensors that overlap in memory
    tensors = {k: t.detach().cpu().clone(memory_format=torch.contiguous_format) for k, t in live.items()}
    if broken := not_finite(tensors):
        raise UsageError(f"save: {broken[0]} holds NaN or an infinity, and such a model would not load.")
    document = {"format": FORMAT, "version": __version__, "tree": tree, "meta": _plain(meta, "meta")}
    try:
        data = pack(tensors, document)
        _rehearse(unpack(data, "rehearsal"), modules, Decoder(tree, registry, theirs, tensors))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"save: this model could not be loaded again: {error}") from error
    write_durably(Path(path), data)


def load(
    path: str | os.PathLike[str],
    *,
    registry: Mapping[str, type],
    parts: Mapping[str, Any] | None = None,
    max_bytes: int = MAX_BYTES,
) -> tuple[dict[str, nn.Module], dict[str, JSON]]:
    """Return the modules and the meta of a file: on the CPU, in evaluation mode, outputs equal bit for bit.

    `parts` hands back modules that are not vaelab's, by dotted path ("model.likelihood.network") or by class
    name: an instance or a callable that returns one, which then get the tensors of the file; for a `Part` of
    one's own, its class. `requires_grad` and buffers that are not persistent are as after construction.

    The file is read once, checked, planned without memory, and only then built; nothing of it stays mapped.
    Raises `ModelFileError` for what is no model file, is damaged, does not fit its own tree, or holds NaN or
    an infinity.
    """
    contents = _open(path, max_bytes)
    try:
        tensors = contents.tensors()
        if broken := not_finite(tensors):
            raise ModelFileError(f"the tensor {shown(broken[0])} holds NaN or an infinity, so the model is of no use.")
        decoder = Decoder(contents.document.get("tree"), registry, parts or {}, tensors)
        _compare(named_tensors(decoder.plan()), contents.specs)
        modules = decoder.build()
        built = named_tensors(modules)
        _compare(built, contents.specs)
        for name, tensor in built.items():
            tensor.data = tensors[name].to(tensor.device)  # in place: shared tensors stay shared
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error.__cause__
    for module in modules.values():
        module.eval()
    return modules, contents.document.get("meta", {})


def inspect(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> dict[str, JSON]:
    """Return what a file says and holds, as plain data; no network is built.

    Keys: format, version, digest, bytes, tree, meta; tensors: name -> dtype, shape, finite; parameters:
    module -> count of its floating-point numbers, buffers among them; finite. Raises `ModelFileError` as
    `load` does.
    """
    contents = _open(path, max_bytes)
    broken = set(contents.not_finite())
    parameters: dict[str, int] = {}
    for name, spec in contents.specs.items():
        key = name.partition(".")[0]
        count = (spec.end - spec.begin) // spec.dtype.itemsize if spec.dtype.is_floating_point else 0
        parameters[key] = parameters.get(key, 0) + count
    kept = {key: contents.document.get(key) for key in ("format", "version", "digest", "tree", "meta")}
    tensors = {
        name: {
            "dtype": str(spec.dtype).removeprefix("torch."),
            "shape": list(spec.shape),
            "finite": name not in broken,
        }
        for name, spec in contents.specs.items()
    }
    return {
        **kept,
        "bytes": len(contents.data),
        "tensors": tensors,
        "parameters": parameters,
        "finite": not broken,
    }


def _open(path: str | os.PathLike[str], max_bytes: int) -> Contents:
    return unpack(read_whole(Path(path), max_bytes), str(path))


def _compare(tensors: Mapping[str, Tensor], specs: Mapping[str, Spec]) -> None:
    """Refuse a file whose tensors do not fit its tree; how wide a float is, the file says."""
    if missing := sorted(tensors.keys() - specs.keys()):
        raise ModelFileError(f"the tensor {shown(missing[0])} is missing ({len(missing)} in all).")
    if unknown := sorted(specs.keys() - tensors.keys()):
        raise ModelFileError(f"the tensor {shown(unknown[0])} belongs to no part ({len(unknown)} in all).")
    for name, spec in specs.items():
        shape, dtype = tuple(tensors[name].shape), tensors[name].dtype
        if shape != spec.shape:
            raise ModelFileError(f"the tensor {shown(name)} has shape {spec.shape}, its part needs {shape}.")
        if dtype != spec.dtype and not (dtype.is_floating_point and spec.dtype.is_floating_point):
            raise ModelFileError(f"the tensor {shown(name)} has type {spec.dtype}, its part needs {dtype}.")


def _rehearse(contents: Contents, modules: Mapping[str, nn.Module], decoder: Decoder) -> None:
    """Plan the network as `load` will do: after training is too late to learn that a file is useless."""
    plan = decoder.plan()
    _compare(named_tensors(plan), contents.specs)
    now, then = transient_tensors(modules), transient_tensors(plan)
    for name in sorted(now.keys() | then.keys()):
        is_, made = now.get(name), then.get(name)
        if is_ is None or made is None or (is_.shape, is_.dtype) != (made.shape, made.dtype):
            raise ModelFileError(f"the buffer {name} is not as its constructor makes it; make it persistent.")


def _plain(value: object, path: str) -> JSON:
    """Return `value` if it is plain JSON, tuples as lists; raise `UsageError` with its path."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case list() | tuple():
            return [_plain(v, f"{path}.{i}") for i, v in enumerate(value)]
        case Mapping() if all(isinstance(key, str) for key in value):
            return {key: _plain(v, f"{path}.{key}") for key, v in value.items()}
    raise UsageError(f"save: {path} is {shown(value)} ({type(value).__name__}), which is not JSON.")
