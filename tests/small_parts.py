"""Small parts to save and load, and the registry that knows them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from vaelab import files
from vaelab.errors import UsageError
from vaelab.part import Part


class Dense(Part):
    def __init__(self, inputs: int, outputs: int, hidden: tuple[int, ...] = (5,), slope: float = 0.1) -> None:
        super().__init__()
        self.inputs, self.outputs, self.hidden, self.slope = inputs, outputs, hidden, slope
        widths = (inputs, *hidden, outputs)
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Mixture(Part):
    """A tensor argument that the constructor checks, a parameter, an integer and a transient buffer."""

    def __init__(self, means: Tensor, names: tuple[str, ...] = (), options: dict[str, object] | None = None) -> None:
        super().__init__()
        if not bool((means > 0).all()):
            raise UsageError("Mixture: means must be positive")
        self.names, self.options = names, options
        self.register_buffer("means", means)
        self.logits = nn.Parameter(torch.randn(means.shape[0]))
        self.register_buffer("steps", torch.tensor(3))
        self.register_buffer("grid", torch.arange(4.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.softmax(0) @ (x[:, None] - self.means).square().sum(-1).T


class Mixed(Part):
    """Its constructor mixes the tensor with new ones, which the first plan cannot do."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("wide", scale * torch.ones(3))


class Pair(Part):
    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class Many(Part):
    def __init__(self, layers: nn.ModuleList, heads: nn.ModuleDict) -> None:
        super().__init__()
        self.layers, self.heads = layers, heads


class Kept(Part):
    """Keeps whatever it is given."""

    def __init__(self, thing: object = None) -> None:
        super().__init__()
        self.thing = thing


class Own(nn.Module):
    """A user's network, unknown to the package."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.inner = nn.Linear(width, 3)
        self.register_buffer("offset", torch.full((3,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).sin() + self.offset


class OwnPart(Part):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.randn(size))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


REGISTRY: dict[str, type] = {f"parts.{c.__name__}": c for c in (Dense, Mixture, Mixed, Pair, Many, Kept)}


def trip(tmp_path: Path, *, parts: dict[str, object] | None = None, **modules: nn.Module) -> dict[str, nn.Module]:
    files.save(tmp_path / "m", modules, {}, registry=REGISTRY)
    return files.load(tmp_path / "m", registry=REGISTRY, parts=parts)[0]


def same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and bool((a.view(torch.uint8) == b.view(torch.uint8)).all())


def small_file(path: Path) -> bytes:
    """Save a model of about four kilobytes and return its bytes."""
    model = Pair(Dense(4, 6, hidden=(24, 16)), Mixture(torch.rand(4, 6) + 0.1))
    files.save(path, {"model": model}, {"rows": 100}, registry=REGISTRY)
    return path.read_bytes()
