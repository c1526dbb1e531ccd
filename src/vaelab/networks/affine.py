"""x W' + b by whichever of torch's two matrix libraries is the faster one on this processor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

WORTH = 2**20  # multiplications from which the faster library makes up for the cost of calling it


def _onednn_is_faster() -> bool:
    """Tell an AMD processor with AVX-512, of which MKL uses half the width and oneDNN all.

    A rule, not a measurement: equal runs must give equal bits, and the two libraries round differently.
    """
    if not torch.backends.mkldnn.is_available() or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return "AuthenticAMD" in file.read(4096)
    except OSError:
        return False


ONEDNN = _onednn_is_faster()


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W' + b: x (*lead, inputs), weight (outputs, inputs), bias (outputs,) -> (*lead, outputs).

    To rounding what torch's `linear` gives, and differentiable any number of times.

    >>> networks.affine.affine(torch.ones(7, 3), torch.ones(2, 3)).shape
    torch.Size([7, 2])
    """
    if (
        not torch.compiler.is_exporting()  # other programs know no operator of ours, and have any number of rows
        and x.numel() * weight.shape[0] >= WORTH
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and ONEDNN
        and not torch.is_autocast_enabled("cpu")
    ):
        # without gradients the operator alone: a tracer of decoders knows no function with a backward of its own
        return (_Product.apply if torch.is_grad_enabled() else torch.ops.vaelab.product)(x, weight, bias)
    return linear(x, weight, bias)


class Affine(nn.Linear):
    """y = W x + b: torch's layer, with the same weights under the same names, by `affine`."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (*lead, inputs) to (*lead, outputs)."""
        return affine(input, self.weight, self.bias)


class _Product(torch.autograd.Function):
    """a B' + bias: its gradients are such products too, so it can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(a, b)
        return torch.ops.vaelab.product(a, b, bias)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """d/da = g B, d/dB = g' a, d/dbias = sum of g over rows."""
        (slope,) = slopes
        a, b = ctx.saved_tensors
        for_a, for_b, for_bias = ctx.needs_input_grad
        rows = slope.reshape(-1, slope.shape[-1])
        return (
            affine(slope, b.t()) if for_a else None,
            affine(rows.t(), a.reshape(-1, a.shape[-1]).t()) if for_b else None,
            rows.sum(0) if for_bias else None,
        )


def _product(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")


def _shaped(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return a.new_empty((*a.shape[:-1], b.shape[0]))


# an operator of its own, so that a compiled graph calls it as it stands
_LIBRARY = torch.library.Library("vaelab", "FRAGMENT")
_LIBRARY.define("product(Tensor a, Tensor b, Tensor? bias) -> Tensor")
_LIBRARY.impl("product", _product, "CPU")
torch.library.register_fake("vaelab::product", _shaped, lib=_LIBRARY)
