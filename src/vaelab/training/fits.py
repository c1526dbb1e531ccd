"""Whether a training fits into memory, said before it starts."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..errors import EnvironmentFault
from ..memory import free_bytes, gigabytes
from ..models import Model
from ..noise import Noise
from ..part import evaluating
from .rows import Rows

COPIES = 9  # of the weights, beside them: gradients, two moments, mean, best; the last good state, its moments and mean
PROBE = 2  # rows


def check_memory(model: nn.Module, probe: Rows, samples: int, *, rows: int, batch_size: int) -> None:
    """Raise EnvironmentFault if training would clearly need more memory than is free on its device.

    `probe` are a few rows on that device, of `rows` rows in all. What is counted must be there at once: the rows as the
    loop holds them, copies of the weights, what one batch keeps for its backward pass. The peak is higher.
    """
    free = free_bytes(probe.device)
    if free is None:
        return
    batch = min(batch_size, rows)
    one, two = (kept_for_backward(model, probe, k) for k in (1, 2))
    per_row = one + (samples - 1) * (two - one)
    need = {
        "data": rows * sum(t[0].nbytes for t in (probe.data, probe.observed, probe.condition) if t is not None),
        "model and optimiser": COPIES * sum(p.nbytes for p in model.parameters()),
        f"a batch of {batch:,} rows": int(batch * per_row),
    }
    if (total := sum(need.values())) > free:
        parts = ", ".join(f"{what} {gigabytes(size)}" for what, size in need.items())
        raise EnvironmentFault(
            f"training needs at least {gigabytes(total)} of memory ({parts}); {gigabytes(free)} are free on "
            f"{probe.device.type}. Use a smaller --batch-size or --hidden, fewer rows, or close other programs."
        )


def kept_for_backward(model: nn.Module, rows: Rows, samples: int) -> float:
    """Return the bytes per row that a forward pass keeps for its backward pass, from a few rows."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, Tensor] = {}  # held, so that no place is used twice

    def keep(tensor: Tensor) -> Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in weights:
            kept[place] = tensor
        return tensor

    few = rows.drawn(0).first(PROBE)
    batch = next(few.in_order(PROBE))
    noise = Noise.seeded(0, rows.device)
    with evaluating(model), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        terms = cast(Model, model).terms(
            batch.x, samples=samples, observed=batch.observed, condition=batch.condition, noise=noise
        )
        _ = terms.log_px if terms.log_qz is None else terms.log_w
        size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    return size / len(few)
