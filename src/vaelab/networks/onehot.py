"""How an encoder reads categories."""

from __future__ import annotations

from torch import Tensor, nn

from ..part import Part


class OneHot(Part):
    """network(e_x): each entry of x, a category 0 .. categories - 1, as a unit vector.

    Shapes: x (*lead, *X) to (*lead, *X, categories), which is what `network` reads.

    >>> networks.OneHot(networks.Linear((5, 3), 2), 3)(torch.tensor([[0.0, 1, 2, 2, 1]])).shape
    torch.Size([1, 2])
    """

    def __init__(self, network: nn.Module, categories: int) -> None:
        super().__init__()
        self.network, self.categories = network, categories

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Apply the network to the unit vectors."""
        unit = nn.functional.one_hot(x.long(), self.categories).to(x.dtype)
        out: Tensor = self.network(unit) if condition is None else self.network(unit, condition)
        return out
