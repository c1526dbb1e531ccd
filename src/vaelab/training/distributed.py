"""Several processes that train one model together: each takes a part of every batch, gradients are added up.

`torchrun --nproc-per-node 2 -m vaelab train ...` starts them, on one machine or many. All hold the same weights, draw
the same order and the noise of the whole batch, and add their gradients once per owner after the backward pass: up to
the order of sums, n processes take the steps of one. Nothing here is pickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..conditional import Conditional
from ..errors import LostProcess, UsageError, VaelabError
from ..noise import Noise, Portion
from ..objectives import Objective


@dataclass(frozen=True)
class Share:
    """Which rows, start .. stop, of a batch of `whole` one process takes.

    Where there are fewer rows than processes some take none: they hold the first row for its shape and for the noise,
    with no weight.
    """

    start: int
    stop: int
    whole: int
    empty: bool = False

    def of(self, index: Tensor) -> Tensor:
        """Return this share of the indices of a batch."""
        return index[self.start : self.stop]

    def noise(self, noise: Noise) -> Noise:
        """Return the noise of these rows."""
        return noise if self.stop - self.start == self.whole else Portion(noise, self.start, self.stop, self.whole)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over these rows of (B,) values."""
        return values.new_zeros(()) if self.empty else values.sum()

    def mean(self, loss: Tensor) -> Tensor:
        """Return what these rows add to the mean over the whole batch of (B,) losses; summed over shares it is that."""
        if self.empty:
            return 0.0 * loss.sum()
        return loss.mean() if self.stop - self.start == self.whole else loss.sum() / self.whole


class Ranks:
    """The processes of one training, from `with` to its end: this one's `rank` out of `world`; one alone by default.

    Every method but `share` must be called by all of them, in the same order. Raises LostProcess where one is gone.
    """

    def __init__(self, rank: int = 0, world: int = 1, device: torch.device | str = "cpu") -> None:
        self.rank, self.world, self.device = rank, world, torch.device(device)
        self.store: Any = None

    @classmethod
    def here(cls) -> Ranks:
        """Return the processes that `torchrun` started, by the environment that it sets; else one alone."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def __enter__(self) -> Ranks:
        if self.world > 1:
            import torch.distributed as dist
            from torch.distributed.rendezvous import rendezvous

            with _loss_said():
                self.store, _, _ = next(rendezvous("env://"))
                backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
                dist.init_process_group(backend, store=self.store, rank=self.rank, world_size=self.world)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.world == 1:
            return
        import torch.distributed as dist

        if isinstance(error, VaelabError):
            error.silent = self._said()
        # after an error the others hear of it by the end of this process; a polite end would wait for them
        if error is None:
            dist.destroy_process_group()

    def _said(self) -> bool:
        """Whether another process has failed before this one, and said why."""
        try:
            return int(self.store.add("said", 1)) > 1
        except RuntimeError:  # the store went with its process
            return False

    def share(self, rows: int) -> Share:
        """Return this process's rows of a batch: parts of equal size, the first ones larger by one where they must."""
        start, stop = (rows * rank // self.world for rank in (self.rank, self.rank + 1))
        return Share(start, stop, rows) if stop > start else Share(0, 1, rows, empty=True)

    def added(self, gradients: Sequence[Tensor | None], parameters: Sequence[nn.Parameter]) -> Sequence[Tensor | None]:
        """Return the sums of the gradients of all processes, in one exchange; None where none has one."""
        if self.world == 1:
            return gradients
        like = next((g for g in gradients if g is not None), parameters[0])
        there = torch.tensor([float(g is not None) for g in gradients], dtype=like.dtype, device=like.device)
        parts = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters)]
        flat = self.total(torch.cat([there, *(part.reshape(-1) for part in parts)]))
        used, *sums = flat.split([len(parts), *(part.numel() for part in parts)])
        return [s.view_as(part) if n > 0 else None for n, s, part in zip(used.tolist(), sums, parts)]

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes: the same bits in each."""
        if self.world == 1:
            return values
        import torch.distributed as dist

        values = values.clone()
        with _loss_said():
            dist.all_reduce(values)
        return values

    def largest(self, number: int) -> int:
        """Return the largest of the numbers of all processes."""
        if self.world == 1:
            return number
        import torch.distributed as dist

        value = torch.tensor(number)
        with _loss_said():
            dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def told(self, number: float) -> float:
        """Return the number of the first process: clocks differ, and all must decide alike."""
        if self.world == 1:
            return number
        return float(self.total(torch.tensor(number if self.first else 0.0, dtype=torch.float64)))

    def handed(self, data: bytes | None) -> bytes:
        """Return the bytes of the first process."""
        if self.world == 1:
            return data or b""
        import torch.distributed as dist

        mine = data if self.first and data is not None else b""
        content = torch.frombuffer(bytearray(mine.ljust(self.largest(len(mine)))), dtype=torch.uint8)
        with _loss_said():
            dist.broadcast(content, 0)
        return content.numpy().tobytes()

    def gathered(self, document: Any) -> list[Any]:
        """Return the JSON documents of all processes, by rank."""
        if self.world == 1:
            return [document]
        import torch.distributed as dist

        text = json.dumps(document).encode()
        size = self.largest(len(text))
        mine = torch.frombuffer(bytearray(text.ljust(size)), dtype=torch.uint8)
        all_of_them = [torch.empty_like(mine) for _ in range(self.world)]
        with _loss_said():
            dist.all_gather(all_of_them, mine)
        return [json.loads(one.numpy().tobytes()) for one in all_of_them]


ALONE = Ranks()


def refuse_coupled(model: nn.Module, objective: Objective, ranks: Ranks) -> None:
    """Raise UsageError where several processes could not give the steps of one: rows of a batch need each other."""
    if ranks.world == 1:
        return
    coupled = [objective] if objective.couples_rows else []
    coupled += [m for m in model.modules() if isinstance(m, Conditional) and m.couples_rows]  # type: ignore[misc]
    coupled += [m for m in [*model.modules(), *objective.modules()] if isinstance(m, nn.modules.batchnorm._BatchNorm)]  # type: ignore[misc]
    if coupled:
        raise UsageError(
            f"{type(coupled[0]).__name__} looks at the rows of a batch together, and {ranks.world} processes each hold "
            "a part of it: train with one process."
        )


@contextmanager
def _loss_said() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostProcess(
            "a process of this training is gone, or cannot be reached, so it ends here. Start all of them again with "
            "the same torchrun command and --resume RUN."
        ) from error
