"""Numbers in a file: large arrays in whole steps, deflated, as letters. How coarse the steps may be is measured."""

from __future__ import annotations

import math
import zlib
from base64 import b85encode
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOVED = 4e-4  # by which rounded weights may move an answer, as a share of the range of answers
FEW = 256  # numbers of an array that is kept as it is
WHOLE = 2**16  # steps from the smallest number of an array to the largest, at most
MAP = 1024  # steps across a map
QUIET = str.maketrans("<`", ",.")  # letters that would say something to a page, or to a script
REFINED = 4  # times that the steps are set anew by what they did
TRIED = 1 / 256  # of the deviation of an array: the step by which its weight is found out


def coarse_steps(
    weights: dict[str, Tensor], answers: Callable[[dict[str, Tensor]], Tensor], *, alike: bool, moved: float = MOVED
) -> dict[str, float]:
    """Return a step for each array w, as coarse as the answers x (places, *shape) allow: |dx| <= moved * range of x.

    The range is that of each entry over the places; of entries that are `alike`, pixels, that of all. `moved` = 0 takes
    the finest steps, 16 bits: for answers that jump, as the likeliest of a column's words does.
    Rounding to steps d_l adds the variance sum_l D_l d_l^2 to x and costs sum_l N_l log(1 / d_l) for N_l numbers: at a
    given variance d_l ~ sqrt(N_l / D_l) costs least. D_l is measured with the other arrays as they are.
    """
    if not weights:
        return {}
    truth = answers(weights)
    over = tuple(range(truth.ndim)) if alike else (0,)
    unit = (truth.amax(over) - truth.amin(over)).maximum(1e-3 * truth.abs().amax(over)).clamp_min(1e-12)

    def change(steps: dict[str, float]) -> Tensor:
        return (answers(weights | {k: rounded(weights[k], d) for k, d in steps.items()}) - truth) / unit

    coarse = {}
    for name, w in weights.items():
        d = TRIED * w.std().item()
        variance = change({name: d}).square().mean().item() / d**2
        coarse[name] = math.sqrt(w.numel() / variance) if variance > 0 else 1e30

    def at(scale: float) -> tuple[dict[str, float], float]:
        steps = {
            name: max(min(scale * d, weights[name].std().item()), _range(weights[name]) / (WHOLE - 2))
            for name, d in coarse.items()
        }
        return steps, change(steps).abs().max().item()

    if moved == 0:
        return at(0.0)[0]
    scale = moved / math.sqrt(sum(w.numel() for w in weights.values()))  # the deviation of an answer is `moved`
    steps, worst = at(scale)
    for _ in range(REFINED):
        scale *= 0.95 * moved / max(worst, moved / 100)
        steps, worst = at(scale)
    while worst > moved and scale > 1e-12:
        scale *= 0.7
        steps, worst = at(scale)
    return steps


def _range(w: Tensor) -> float:
    return (w.max() - w.min()).item()


def rounded(values: Tensor, step: float) -> Tensor:
    """Return the nearest multiples of a step."""
    return (values.double() / step).round().mul(step).to(values.dtype)


def for_a_map(values: NDArray[Any]) -> tuple[Tensor, float]:
    """Return numbers as exact as a map can show them, and their step."""
    low, high = (float(f(values, initial=0.0)) for f in (np.min, np.max))
    step = (high - low) / MAP
    exact = not math.isfinite(step) or step == 0
    values = np.ascontiguousarray(values, np.float32)
    return (torch.from_numpy(values), 1.0) if exact else (rounded(torch.from_numpy(values), step), step)


def packed(tensors: Sequence[Tensor], steps: Sequence[float] = ()) -> tuple[list[dict[str, Any]], str]:
    """Return how tensors lie in one block of bytes, and the block as text, for `unpacked` of program.js.

    What are multiples of one of `steps`, 256 numbers or more, are kept as whole numbers: low bytes first, then high
    bytes, which deflate well. All others are as they are. Text: zero bytes added (a digit), then five letters for each
    four bytes.
    """
    kept, pieces = [], []
    for tensor in tensors:
        numbers = tensor.detach().cpu().double().numpy()
        kept_as: dict[str, Any] = {"shape": list(tensor.shape)}
        if numbers.size and (numbers == numbers.flat[0]).all():
            kept_as["all"] = float(numbers.flat[0]) if math.isfinite(numbers.flat[0]) else str(numbers.flat[0])
        elif (step := _step_of(numbers, steps)) is not None:
            whole = np.rint(numbers / step).astype(int)
            kept_as |= {"form": "steps", "step": step, "least": int(whole.min())}
            whole -= whole.min()
            pieces += [(whole & 255).astype(np.uint8).tobytes(), (whole >> 8).astype(np.uint8).tobytes()]
        else:
            exact = tensor.dtype in (torch.float64, torch.int64)
            kept_as["form"] = "double" if exact else "single"
            pieces.append(numbers.astype("<f8" if exact else "<f4").tobytes())
        kept.append(kept_as)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = deflate.compress(b"".join(pieces)) + deflate.flush()
    added = -len(data) % 4
    return kept, f"{added}{b85encode(data + bytes(added)).decode().translate(QUIET)}"


def _step_of(numbers: NDArray[np.float64], steps: Sequence[float]) -> float | None:
    """Return the step of which all these are multiples; None for arrays that are small or of no such step."""
    if numbers.size < FEW or not np.isfinite(numbers).all():
        return None
    for step in steps:
        whole = numbers / step
        if np.abs(whole - np.rint(whole)).max() < 0.01 and np.ptp(whole) < WHOLE:
            return step
    return None
