"""A part of a model: a module whose constructor arguments are its only configuration."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Use a model without gradients and in eval mode (no dropout, no running statistics); its mode is put back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True


def exact(model: M) -> M:
    """Return a copy in float64 on the CPU: what it says of a row does then not depend on the batch, to 1e-10."""
    return copy.deepcopy(model).to("cpu", torch.float64)


class Part(nn.Module):
    """A module that keeps each constructor argument in an attribute of the same name.

    That rule is all that saving needs: a part is its class, its arguments (numbers, strings, tuples, tensors,
    other parts) and its tensors. A tensor argument must be registered as a buffer of the same name.
    """

    def arguments(self) -> dict[str, Any]:
        """Return the constructor arguments by name, as they stand."""
        return {
            name: getattr(self, name) for name in inspect.signature(type(self).__init__).parameters if name != "self"
        }

    def extra_repr(self) -> str:
        """Show the plain arguments; modules and tensors show themselves."""
        plain = {k: v for k, v in self.arguments().items() if isinstance(v, (int, float, str, bool, tuple, type(None)))}
        return ", ".join(f"{name}={value!r}" for name, value in plain.items())
