"""A network as plain data and back: which part, with which arguments, and which tensors.

A node of the tree is a scalar, an array (a tuple), or an object with one of these keys:

    {"part": "networks.MLP", "arguments": {...}}   a part of vaelab, by its name in the registry
    {"own": "MyPart", "arguments": {...}}          a `Part` of the user's, rebuilt by the class handed back
    {"custom": "MyNet"}                            any other module, handed back whole
    {"shared": "model.prior"}                      the module that stands there
    {"tensor": "model.prior.means"}                a tensor argument: the value of that name in the file
    {"list": [...]} {"dict": {...}} {"modules": [...]} {"named": {...}}   list, dict, ModuleList, ModuleDict
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from ..errors import UsageError
from ..part import Part
from .container import JSON, MAX_DEPTH
from .sniff import shown


def named_tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return each parameter and persistent buffer once, named by the dotted path at which it occurs first."""
    return {name: tensor for name, tensor, persistent in _each_tensor(modules) if persistent}


def transient_tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return the buffers that are not saved: the constructor makes them anew."""
    return {name: tensor for name, tensor, persistent in _each_tensor(modules) if not persistent}


def _each_tensor(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, Tensor, bool]]:
    seen: set[int] = set()
    for path, module in _each_module(modules):
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in own:
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield f"{path}.{name}", tensor, name not in module._non_persistent_buffers_set


def _each_module(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    seen: set[nn.Module] = set()
    for key, root in modules.items():
        yield from root.named_modules(memo=seen, prefix=key)


def encode(modules: Mapping[str, nn.Module], registry: Mapping[str, type]) -> tuple[dict[str, JSON], dict[str, Any]]:
    """Return the tree of the modules, and by path what a user has to hand back: modules and classes.

    Raises `UsageError`, naming the path, for what cannot be written.
    """
    encoder = _Encoder(modules, registry)
    return {key: encoder.module(module, key) for key, module in modules.items()}, encoder.theirs


class _Encoder:
    def __init__(self, modules: Mapping[str, nn.Module], registry: Mapping[str, type]) -> None:
        self.names = {part: name for name, part in registry.items()}
        self.tensors = {id(tensor): name for name, tensor in named_tensors(modules).items()}
        self.registered = {id(module) for _, module in _each_module(modules)}
        self.written: dict[int, str] = {}
        self.theirs: dict[str, Any] = {}

    def module(self, module: nn.Module, path: str) -> JSON:
        if id(module) in self.written:
            return {"shared": self.written[id(module)]}
        if id(module) not in self.registered:
            raise UsageError(f"save: {path} is a module that its owner does not register; use nn.ModuleList.")
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            raise UsageError(f"save: {path} has extra state, which a model file cannot hold; use buffers.")
        node = self.node(module, path)
        for name, inner in module.named_modules():
            self.written.setdefault(id(inner), f"{path}.{name}" if name else path)
        return node

    def node(self, module: nn.Module, path: str) -> JSON:
        cls = type(module)
        if isinstance(module, nn.ModuleList) and cls is nn.ModuleList:
            return {"modules": [self.module(inner, f"{path}.{i}") for i, inner in enumerate(module)]}
        if isinstance(module, nn.ModuleDict) and cls is nn.ModuleDict:
            return {"named": {name: self.module(inner, f"{path}.{name}") for name, inner in module.items()}}
        if not isinstance(module, Part):
            self.theirs[path] = module
            return {"custom": cls.__name__}
        kind, name = ("part", self.names[cls]) if cls in self.names else ("own", cls.__name__)
        if kind == "own":
            self.theirs[path] = cls
        try:
            arguments = module.arguments()
        except AttributeError as error:
            raise UsageError(f"save: {path} ({name}) must keep each argument in an attribute: {error}.") from None
        return {
            kind: name,
            "arguments": {key: self.value(v, f"{path}.{key}") for key, v in arguments.items()},
        }

    def value(self, value: object, path: str) -> JSON:
        if path.count(".") > 4 * MAX_DEPTH:
            raise UsageError(f"save: {shown(path)} is nested too deeply, or holds itself.")
        match value:
            case None | bool() | str():
                return value
            case int() | float():
                if not math.isfinite(value):
                    raise UsageError(f"save: {path} is {value}; an argument must be finite, None says 'no limit'.")
                return int(value) if isinstance(value, int) else float(value)
            case tuple():
                return [self.value(v, f"{path}.{i}") for i, v in enumerate(value)]
            case list():
                return {"list": [self.value(v, f"{path}.{i}") for i, v in enumerate(value)]}
            case dict():
                if not all(isinstance(key, str) for key in value):
                    raise UsageError(f"save: {path} is a dict with a key that is no string.")
                return {"dict": {key: self.value(v, f"{path}.{key}") for key, v in value.items()}}
            case nn.Module():
                return self.module(value, path)
            case Tensor():
                if id(value) not in self.tensors:
                    raise UsageError(f"save: {path} is a tensor that is no persistent buffer; use register_buffer.")
                return {"tensor": self.tensors[id(value)]}
        raise UsageError(
            f"save: {path} is of type {type(value).__name__}, which a model file cannot hold;"
            " use numbers, strings, tuples, dicts, tensors and modules."
        )
