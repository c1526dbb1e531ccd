"""Noise is explicit: whoever draws is handed the source of the randomness, and no global generator is touched."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from .errors import UsageError


def stream(seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the generator of one named use of a seed, so that no two uses share their random numbers."""
    return torch.Generator(device).manual_seed(zlib.crc32(f"{name}:{seed}".encode()))


class Noise:
    """Standard noise for K draws at B rows: every call returns a tensor of shape (K, B, *event).

    `Noise(generator)` draws each number afresh; the kinds below repeat, fix or hand in the numbers.

    >>> like = torch.zeros(1)
    >>> torch.equal(Noise.seeded(3).normal((2, 5), like), Noise.seeded(3).normal((2, 5), like))
    True
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    @classmethod
    def seeded(cls, seed: int, device: torch.device | str = "cpu") -> Noise:
        """Return the noise of a fresh generator with this seed."""
        return cls(torch.Generator(device).manual_seed(seed))

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw N(0, 1) of shape (K, B, *event), with the type and device of `like`."""
        return torch.randn(*shape, generator=self.generator, dtype=like.dtype, device=like.device)

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw U(0, 1), the open interval, of shape (K, B, *event)."""
        tiny = torch.finfo(like.dtype).tiny
        u = torch.rand(*shape, generator=self.generator, dtype=like.dtype, device=like.device)
        return u.clamp_(min=tiny)

    def scaled(self, temperature: float) -> Noise:
        """Return this noise with its normal draws multiplied by `temperature`."""
        return _Scaled(self, temperature)


class _Scaled(Noise):
    """The normal draws of another noise, multiplied."""

    def __init__(self, noise: Noise, temperature: float) -> None:
        super().__init__(getattr(noise, "generator", None))  # type: ignore[arg-type]
        self.noise, self.temperature = noise, temperature

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        return self.temperature * self.noise.normal(shape, like)

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        return self.noise.uniform(shape, like)


class OnePerDraw(Noise):
    """The noise of K draws at B rows for a distribution whose batch is (K, B) already: one draw of each.

    >>> one = OnePerDraw(SharedNoise(torch.Generator().manual_seed(0))).normal((1, 3, 7, 2), torch.zeros(1))
    >>> one.shape, torch.equal(one[0, :, 0], one[0, :, 6])  # shared by the rows, as the K draws themselves are
    (torch.Size([1, 3, 7, 2]), True)
    """

    def __init__(self, noise: Noise) -> None:
        self.noise, self.generator = noise, getattr(noise, "generator", None)  # type: ignore[assignment]

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw N(0, 1) of shape (1, K, B, *event)."""
        return self.noise.normal(shape[1:], like).unsqueeze(0)

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw U(0, 1) of shape (1, K, B, *event)."""
        return self.noise.uniform(shape[1:], like).unsqueeze(0)


class SharedNoise(Noise):
    """The same K draws for every row: a row's result then does not depend on its batch or its place in it.

    Drawn in float64 on the CPU, so that the numbers are those of the seed whatever the model's type and device.
    """

    def _share(self, draw: Tensor, shape: Sequence[int], like: Tensor) -> Tensor:
        return draw.to(like.device, like.dtype).expand(*shape)

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw N(0, 1) once per draw and event; expand over the rows."""
        draw = torch.randn(shape[0], 1, *shape[2:], generator=self.generator, dtype=torch.float64)
        return self._share(draw, shape, like)

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw U(0, 1) once per draw and event; expand over the rows."""
        draw = torch.rand(shape[0], 1, *shape[2:], generator=self.generator, dtype=torch.float64)
        return self._share(draw.clamp_(min=torch.finfo(torch.float64).tiny), shape, like)


class Mirrored(Noise):
    """Draws in pairs, e and -e, u and 1 - u: what is linear in them averages to its exact mean over an even K.

    >>> one = Mirrored(Noise.seeded(0)).normal((4, 7, 2), torch.zeros(1, dtype=torch.float64))
    >>> float(one.sum(0).abs().max())
    0.0
    """

    def __init__(self, noise: Noise) -> None:
        self.noise, self.generator = noise, getattr(noise, "generator", None)  # type: ignore[assignment]

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw N(0, 1) of shape (K, B, *event)."""
        half = self.noise.normal(((shape[0] + 1) // 2, *shape[1:]), like)
        return torch.cat([half, -half])[: shape[0]]

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw U(0, 1) of shape (K, B, *event)."""
        half = self.noise.uniform(((shape[0] + 1) // 2, *shape[1:]), like)
        return torch.cat([half, (1 - half).clamp(min=torch.finfo(half.dtype).tiny)])[: shape[0]]


class RowNoise(Noise):
    """Independent noise that belongs to the row: row i gets the numbers of (seed, i, block), in any batch.

    Used by `evaluate`: averages over rows have independent errors, and no result depends on the size of a batch.
    """

    def __init__(self, seed: int, rows: Sequence[int], block: int = 0) -> None:
        self.seed, self.rows, self.block = seed, rows, block
        self.generator = torch.Generator()
        self.calls = 0

    def _rows(self, draw: str, shape: Sequence[int], like: Tensor) -> Tensor:
        if len(self.rows) != shape[1]:
            raise UsageError(f"RowNoise: made for {len(self.rows)} rows, asked for {shape[1]}.")
        out = torch.empty(*shape, dtype=like.dtype)
        self.calls += 1
        for column, row in enumerate(self.rows):
            # a hash of integers is the same in every process, and mixes them well
            self.generator.manual_seed(hash((self.seed, int(row), self.block, self.calls)) & 0xFFFF_FFFF)
            out[:, column] = getattr(torch, draw)(shape[0], *shape[2:], generator=self.generator, dtype=like.dtype)
        return out.to(like.device)

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw N(0, 1), row by row."""
        return self._rows("randn", shape, like)

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw U(0, 1), row by row."""
        return self._rows("rand", shape, like).clamp_(min=torch.finfo(like.dtype).tiny)


class Portion(Noise):
    """The numbers of the rows start .. stop of a batch of `whole`, drawn for all of it and cut out.

    So several processes that each hold a part of a batch see, row by row, the numbers that one would see, and the
    generator moves on alike in all of them. Raises UsageError for noise that does not belong to rows.

    >>> like, whole = torch.zeros(1), Noise.seeded(3).normal((2, 5, 4), torch.zeros(1))
    >>> torch.equal(Portion(Noise.seeded(3), 1, 3, 5).normal((2, 2, 4), like), whole[:, 1:3])
    True
    """

    def __init__(self, noise: Noise, start: int, stop: int, whole: int) -> None:
        self.noise, self.start, self.stop, self.whole = noise, start, stop, whole
        self.generator = getattr(noise, "generator", None)  # type: ignore[assignment]

    def _whole(self, shape: Sequence[int]) -> tuple[int, ...]:
        if shape[1] != self.stop - self.start:
            raise UsageError(
                f"noise of shape {tuple(shape)} was asked for {self.stop - self.start} rows of a batch: it belongs to "
                "no rows, so several processes cannot share it. Train with one process."
            )
        return (shape[0], self.whole, *shape[2:])

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw N(0, 1) of shape (K, B, *event) for the B rows of this part."""
        return self.noise.normal(self._whole(shape), like)[:, self.start : self.stop]

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw U(0, 1) of shape (K, B, *event) for the B rows of this part."""
        return self.noise.uniform(self._whole(shape), like)[:, self.start : self.stop]


class Given(Noise):
    """Noise drawn outside, handed out in order: for finite differences, compiled steps and CUDA graphs."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self.tensors = list(tensors)
        self.next = 0

    def _take(self, shape: Sequence[int]) -> Tensor:
        if self.next >= len(self.tensors):
            raise UsageError(
                f"Given noise: {len(self.tensors)} tensors were handed in, draw {self.next + 1} was asked for."
            )
        tensor = self.tensors[self.next]
        self.next += 1
        if tuple(tensor.shape) != tuple(shape):
            raise UsageError(
                f"Given noise: tensor {self.next} has shape {tuple(tensor.shape)}, expected {tuple(shape)}."
            )
        return tensor

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Return the next tensor; its maker vouches that it is N(0, 1)."""
        return self._take(shape)

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Return the next tensor; its maker vouches that it is U(0, 1)."""
        return self._take(shape)


class Recorded(Noise):
    """Draws from another noise, and keeps what was drawn: `values`, and in `draws` the kind, shape and type of each.

    >>> one = Recorded(Noise.seeded(0))
    >>> torch.equal(one.uniform((2, 5), torch.zeros(1)), one.values[0]), one.draws[0][:2]
    (True, ('uniform', (2, 5)))
    """

    def __init__(self, noise: Noise) -> None:
        self.noise, self.generator = noise, noise.generator
        self.values: list[Tensor] = []
        self.draws: list[tuple[str, tuple[int, ...], Tensor]] = []

    def _keep(self, kind: str, shape: Sequence[int], like: Tensor) -> Tensor:
        self.values.append(getattr(self.noise, kind)(shape, like))
        self.draws.append((kind, tuple(shape), like.new_empty(0)))
        return self.values[-1]

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw N(0, 1) of shape (K, B, *event)."""
        return self._keep("normal", shape, like)

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw U(0, 1) of shape (K, B, *event)."""
        return self._keep("uniform", shape, like)
