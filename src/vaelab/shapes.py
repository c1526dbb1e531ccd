"""Shapes in signatures: Float[Tensor, "K B"] is a tensor of K draws at B rows.

Checked in the tests, by jaxtyping and beartype; without jaxtyping the names stand for nothing and cost nothing.
Letters: K draws, B rows, N rows of a data set, *X the shape of x, Z latent dimensions, C entries of a condition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Bool as Bool
    from jaxtyping import Float as Float
else:
    try:
        from jaxtyping import Bool, Float
    except ModuleNotFoundError:
        Bool = Float = None

__all__ = ["Bool", "Float"]
