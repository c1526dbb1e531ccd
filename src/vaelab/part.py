"""A part of a model: a module whose constructor arguments are its only configuration."""

from __future__ import annotations

import copy
import inspect
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from .memory import keep_freed_memory

_LOCK = threading.Lock()
_IN_USE: dict[int, tuple[int, list[nn.Module]]] = {}  # id of a model -> how many use it, what was in training mode
M = TypeVar("M", bound=nn.Module)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Use a model in eval mode (no dropout, no running statistics); its mode is put back.

    By the last of the threads that use it: put back earlier, dropout would come over the others halfway.
    """
    with _LOCK:
        users, training = _IN_USE.get(id(model), (0, [module for module in model.modules() if module.training]))
        _IN_USE[id(model)] = (users + 1, training)
        model.eval()
    try:
        yield
    finally:
        with _LOCK:
            users, training = _IN_USE.pop(id(model))
            if users > 1:
                _IN_USE[id(model)] = (users - 1, training)
            else:
                for module in training:
                    module.training = True


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Use a model in eval mode and without gradients; its mode is put back."""
    keep_freed_memory()
    with evaluating(model), torch.inference_mode():
        yield


def wide(value: Tensor) -> Tensor:
    """Return float64, in which sums over rows are taken; on the CPU where the device has none (mps)."""
    return (value.cpu() if value.device.type == "mps" else value).double()


def exact(model: M) -> M:
    """Return a copy in float64 on the CPU: what it says of a row does then not depend on the batch, to 1e-10."""
    return copy.deepcopy(model).to("cpu", torch.float64)


class Part(nn.Module):
    """A module that keeps each constructor argument in an attribute of the same name.

    That rule is all that saving needs: a part is its class, its arguments (numbers, strings, tuples, tensors,
    other parts) and its tensors. A tensor argument must be registered as a buffer of the same name.
    """

    _names: ClassVar[tuple[str, ...]] = ()  # of the arguments; looked up once, since every pass asks for them

    def __init_subclass__(cls, **others: Any) -> None:
        super().__init_subclass__(**others)
        cls._names = tuple(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def arguments(self) -> dict[str, Any]:
        """Return the constructor arguments by name, as they stand."""
        return {name: getattr(self, name) for name in self._names}

    def extra_repr(self) -> str:
        """Show the plain arguments; modules and tensors show themselves."""
        plain = {k: v for k, v in self.arguments().items() if isinstance(v, (int, float, str, bool, tuple, type(None)))}
        return ", ".join(f"{name}={value!r}" for name, value in plain.items())


_TYPES: dict[str, tuple[type, ...]] = {
    **{"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,), "None": (type(None),)},
    **{"Tensor": (torch.Tensor,), "nn.Module": (nn.Module,)},
}
_ALIASES = {"Shape": "int | Sequence[int]", "Layout": "str", "Values": "str"}
_SEVERAL = re.compile(r"(?:Sequence|tuple|list)\[(\w+)(?:, \.\.\.)?\]")


def fits(value: object, annotation: object) -> bool:
    """Tell whether a value is of the types that a constructor asks for: scalars, sequences of them, tensors, modules.

    About all other types it says yes, and so it does where an annotation is no text.
    """
    kinds = _ALIASES.get(annotation, annotation).split("|") if isinstance(annotation, str) else ["Any"]
    return any(_is(value, kind.strip()) for kind in kinds)


def _is(value: object, kind: str) -> bool:
    if several := _SEVERAL.fullmatch(kind):
        return isinstance(value, (tuple, list)) and all(_is(item, several[1]) for item in value)
    if isinstance(value, bool) and kind in ("int", "float"):  # in Python a truth value is a number
        return False
    return kind not in _TYPES or isinstance(value, _TYPES[kind])
