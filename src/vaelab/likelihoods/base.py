"""What every likelihood shares: a network for its parameters, a shape for x, and a support."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from ..conditional import Conditional
from ..errors import UsageError


class Likelihood(Conditional):
    """p(x | z) over x of shape `shape`, its parameters given by network(z).

    Shapes: z (*lead, Z); the distribution has batch shape `lead` and event shape `shape`. A family says through
    `outputs` which shape its network must give, and through `discrete` whether log p(x | z) is a mass (nats that no
    change of units moves) or a density; by `values` and `levels`, data that it cannot be a law of are refused before
    training.

    >>> likelihoods.Gaussian.outputs((3, 4), scale="network")  # what the network must give: means and log-deviations
    (2, 3, 4)
    """

    discrete: bool
    values: tuple[str, ...] = ("binary", "integer", "count", "category", "real")  # whose x it can be a law of
    reads_missing: ClassVar[bool] = False  # whether `reader` tells what is missing from 0
    levels: ClassVar[str | None] = None  # the argument that says how many values x has

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        self.network, self.shape = network, tuple(shape)

    @classmethod
    def outputs(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return the shape that the network must give, for x of shape `shape` and these constructor arguments."""
        return tuple(shape)

    @classmethod
    def seen(cls, shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
        """Return the shape that an encoder's network reads, behind `reader`."""
        return tuple(shape)

    @classmethod
    def reader(cls, network: nn.Module, **arguments: Any) -> nn.Module:
        """Return the encoder's network as it should read x of this family; most read x as it stands."""
        return network

    @classmethod
    def pathwise(cls, **arguments: Any) -> tuple[int, ...] | None:
        """Return the columns whose draws carry a gradient; None where the law says it of all entries at once."""
        return None

    def parameters_at(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Return network(z), checked to have shape (*lead, *outputs)."""
        plain = {k: v for k, v in self.arguments().items() if k not in ("network", "shape")}
        needed = (*z.shape[:-1], *self.outputs(self.shape, **plain))
        out = self.called(self.network, z, condition)
        if out.shape != needed:
            raise UsageError(
                f"{type(self.network).__name__} gave {tuple(out.shape)} for an input of {tuple(z.shape)}; "
                f"{type(self).__name__} needs {needed}. Give the network outputs={needed[z.ndim - 1 :]}."
            )
        return out


SCALES = ("network", "shared", "entry", "optimal")
