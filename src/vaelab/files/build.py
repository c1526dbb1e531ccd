"""From the tree of a file to modules: planned on the meta device first, then built."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import ModelFileError
from ..part import Part, fits
from .container import JSON, NAME
from .sniff import shown

MAX_INTEGER = 2**31
MAX_LENGTH = 10_000  # of a string, an array or an object


class Decoder:
    """Builds the modules of a tree, first as a plan that owns no memory, then for real.

    `parts` are the user's own modules and classes, by dotted path or by class name. No name in a file is ever
    imported: it is looked up in `registry` and `parts`, and refused if it is not there.
    """

    def __init__(
        self,
        tree: JSON,
        registry: Mapping[str, type],
        parts: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> None:
        if not isinstance(tree, dict) or not tree:
            raise ModelFileError("its tree names no module.")
        for key in tree:
            if not NAME.fullmatch(key) or "." in key:
                raise ModelFileError(f"a module is named {shown(key)}; letters, digits and '_' are allowed.")
        self.tree, self.registry, self.parts, self.tensors = tree, registry, parts, tensors
        with torch.random.fork_rng(devices=[]):
            self.handed = {path: self._hand_back(name, path) for key in tree for path, name in _customs(tree[key], key)}

    def plan(self) -> dict[str, nn.Module]:
        """Return the modules on the meta device: names, shapes and types without a byte of memory.

        The work is bounded by the file: a tree that asks for more layers than the file has tensors stops
        early.
        """
        twins = {path: _twin(module) for path, module in self.handed.items()}
        try:
            return self._plan(twins, self.tensors)
        except ModelFileError as error:
            if not self.arguments:
                raise
            # a constructor may check the values of its tensors, which took real ones, or mix them with new
            # tensors
            try:
                return self._plan(twins, {name: tensor.to("meta") for name, tensor in self.tensors.items()})
            except ModelFileError:
                raise error from error.__cause__

    def _plan(self, twins: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> dict[str, nn.Module]:
        with torch.device("meta"), _Counting(2000 + 40 * len(tensors)):
            return self._all(twins, tensors)

    def build(self) -> dict[str, nn.Module]:
        """Return the modules with the values that their constructors give them; no global generator moves."""
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            return self._all(self.handed, self.tensors)

    def _all(self, customs: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> dict[str, nn.Module]:
        self.customs, self.values = customs, tensors
        self.built: dict[str, nn.Module] = {}
        self.arguments: dict[str, Tensor] = {}
        return {key: self._module(node, key) for key, node in self.tree.items()}

    def _module(self, node: JSON, path: str) -> nn.Module:
        module = self._value(node, path)
        if not isinstance(module, nn.Module):
            raise ModelFileError(f"{shown(path)} is no module.")
        return module

    def _value(self, node: JSON, path: str) -> Any:
        for sized in (node, *(node.values() if isinstance(node, dict) else ())):
            if isinstance(sized, (str, list, dict)) and len(sized) > MAX_LENGTH:
                raise ModelFileError(f"{shown(path)} has length {len(sized):,}; at most {MAX_LENGTH:,} is allowed.")
        match node:
            case list():
                return tuple(self._value(v, f"{path}.{i}") for i, v in enumerate(node))
            case dict():
                return self._object(node, path)
            case int() if abs(node) > MAX_INTEGER:
                raise ModelFileError(f"{shown(path)} is {shown(node)}; at most {MAX_INTEGER:,} is allowed.")
        return node

    def _object(self, node: dict[str, JSON], path: str) -> Any:
        kind, *rest = node or [""]
        inner = node.get(kind)
        match kind, inner, rest:
            case "list", list(), []:
                return [self._value(v, f"{path}.{i}") for i, v in enumerate(inner)]
            case "dict", dict(), []:
                return {key: self._value(v, f"{path}.{key}") for key, v in inner.items()}
            case "tensor", str(), []:
                return self._tensor(inner, path)
            case "shared", str(), []:
                if inner not in self.built:
                    raise ModelFileError(f"{shown(path)} refers to {shown(inner)}, which does not stand before it.")
                return self.built[inner]
            case "modules", list(), []:
                return self._keep(nn.ModuleList([self._module(v, f"{path}.{i}") for i, v in enumerate(inner)]), path)
            case "named", dict(), []:
                modules = {name: self._module(v, f"{path}.{name}") for name, v in inner.items()}
                try:
                    return self._keep(nn.ModuleDict(modules), path)
                except KeyError as error:  # a name with a dot, or one that the class has taken
                    raise ModelFileError(f"{shown(path)} has a wrong name: {shown(error)}.") from None
            case "custom", str(), []:
                return self._keep(self.customs[path], path)
            case (("part" | "own"), str(), ["arguments"]) if isinstance(node["arguments"], dict):
                return self._keep(self._part(kind, inner, node["arguments"], path), path)
        raise ModelFileError(f"{shown(path)} has an unknown form ({shown(', '.join(node))}).")

    def _keep(self, module: nn.Module, path: str) -> nn.Module:
        for name, inner in module.named_modules():
            self.built.setdefault(f"{path}.{name}" if name else path, inner)
        return module

    def _tensor(self, name: str, path: str) -> Tensor:
        if name not in self.values:
            raise ModelFileError(f"{shown(path)} refers to the tensor {shown(name)}, which is missing.")
        # a copy, for a constructor may write to it; one copy, for two parts may share it
        return self.arguments.setdefault(name, self.values[name].clone())

    def _part(self, kind: str, name: str, arguments: dict[str, JSON], path: str) -> nn.Module:
        cls = self.registry.get(name) if kind == "part" else self._handed(name, path)
        if cls is None:
            raise ModelFileError(f"{shown(path)} is an unknown part, {shown(name)}. Is the file from a newer vaelab?")
        if not (isinstance(cls, type) and issubclass(cls, Part)):
            raise ModelFileError(f"parts: {shown(path)} needs the class {shown(name)}, a Part, got {shown(cls)}.")
        try:
            inspect.signature(cls).bind(**arguments)
        except TypeError as error:
            raise ModelFileError(f"{shown(path)} ({shown(name)}) has other arguments: {shown(error, 120)}.") from None
        values = {key: self._value(node, f"{path}.{key}") for key, node in arguments.items()}
        for key, annotation in inspect.get_annotations(cls.__init__).items() if kind == "part" else ():
            if key in values and not fits(values[key], annotation):
                raise ModelFileError(f"{shown(f'{path}.{key}')} is {shown(arguments[key])}, expected {annotation}.")
        try:
            return cls(**values)
        except Exception as error:  # whatever a constructor says about arguments that it cannot use
            raise ModelFileError(f"{shown(path)} ({shown(name)}) cannot be built: {shown(error, 200)}.") from error

    def _handed(self, name: str, path: str) -> Any:
        if path in self.parts or name in self.parts:
            return self.parts.get(path, self.parts.get(name))
        raise ModelFileError(
            f"{shown(path)} is of your own class {shown(name)}, which no file can bring: hand it back with"
            f" load(file, parts={{{shown(path)}: ...}}) or parts={{{shown(name)}: ...}}."
        )

    def _hand_back(self, name: str, path: str) -> nn.Module:
        given = self._handed(name, path)
        module = given if isinstance(given, nn.Module) else given() if callable(given) else None
        if not isinstance(module, nn.Module):
            raise ModelFileError(
                f"parts: {shown(path)} needs a module or a callable that returns one, got {shown(given)}."
            )
        return module


def _customs(node: JSON, path: str) -> Iterator[tuple[str, str]]:
    """Return the path and class name of each module below a node that has to be handed back."""
    if isinstance(node, dict):
        if isinstance(name := node.get("custom"), str) and len(node) == 1:
            yield path, name
        for content in node.values():
            for key, inner in content.items() if isinstance(content, dict) else ():
                yield from _customs(inner, f"{path}.{key}")
            if isinstance(content, list):
                yield from _customs(content, path)
    elif isinstance(node, list):
        for i, inner in enumerate(node):
            yield from _customs(inner, f"{path}.{i}")


class _Counting(TorchFunctionMode):
    """Stops a constructor after `limit` calls of torch, and leaves out random values, of no use to a plan."""

    FILLERS = (
        "normal_",
        "uniform_",
        "random_",
        "bernoulli_",
        "exponential_",
        "log_normal_",
        "cauchy_",
        "geometric_",
    )

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.left = limit

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ModelFileError("its arguments ask for far more layers than the file holds")
        if args and getattr(func, "__name__", "") in self.FILLERS:
            return args[0]
        return func(*args, **(kwargs or {}))


def _twin(module: nn.Module) -> nn.Module:
    """Return a copy whose parameters and buffers are on the meta device, or the module if that fails."""
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    for buffer in module.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    try:
        return copy.deepcopy(module, memo)
    except Exception:  # it holds something that cannot be copied, like an open file
        return module
