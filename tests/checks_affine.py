"""Exact checks of the matrix products."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from exact import check, normal
from vaelab.networks import affine


@check
def both_matrix_libraries_give_the_same_products() -> None:
    """By oneDNN, as on AMD's processors, whatever this one is: values, slopes and slopes of slopes against float64."""
    truth = normal(3, 11, 5), normal(7, 5, seed=1), normal(7, seed=2)
    wide, narrow = ([t.to(kind, copy=True).requires_grad_() for t in truth] for kind in (torch.float64, torch.float32))
    before = affine.ONEDNN, affine.WORTH, affine._Product.apply
    calls: list[int] = []
    affine._Product.apply = lambda *given: calls.append(1) or before[2](*given)  # type: ignore[method-assign]
    affine.ONEDNN, affine.WORTH = True, 0
    try:
        made = slopes(affine.affine, narrow)
    finally:
        affine.ONEDNN, affine.WORTH, affine._Product.apply = before  # type: ignore[method-assign]
    assert calls, "oneDNN was not asked"
    for exact, value in zip(slopes(linear, wide), made):
        assert value.shape == exact.shape
        error = ((value - exact).abs().max() / exact.abs().max()).item()
        assert error < 2e-6, f"off by {error:.2g} (relative)"


def slopes(product: Callable[..., Tensor], given: Sequence[Tensor]) -> list[Tensor]:
    """Return x W' + b, its slopes, and the slopes of those."""
    y = product(*given)
    first = torch.autograd.grad(y.sin().sum(), given, create_graph=True)
    return [y, *first, *torch.autograd.grad(torch.stack([g.square().sum() for g in first]).sum(), given)]
