"""Training images are mirrored and shifted by chance, with their masks; what is judged never is."""

from __future__ import annotations

import pytest
import torch

import vaelab
from oracles import noise
from vaelab.errors import UsageError
from vaelab.training import Augment, Batch

N, C, H, W = 4000, 3, 5, 7
IMAGES = torch.arange(C * H * W, dtype=torch.float64).reshape(1, C, H, W).expand(N, -1, -1, -1)


def shifted(image: torch.Tensor, dy: int, dx: int) -> torch.Tensor:
    """The independent way: pad by repeating the edge, cut a window, one image after another."""
    padded = torch.nn.functional.pad(image[None], (2, 2, 2, 2), mode="replicate")[0]
    return padded[:, 2 + dy : 2 + dy + H, 2 + dx : 2 + dx + W]


def test_every_shift_and_mirror_comes_up_equally_often_and_no_other_image() -> None:
    """24 degrees of freedom of dy, dx and 49 with the mirror: chi-square, five standard errors of its normal limit."""
    moved = Augment(flip=True, crop=2)(Batch(IMAGES, IMAGES > 50), noise(3))
    assert torch.equal(moved.observed, moved.x > 50), "the mask did not move with its image"
    kinds = [shifted(IMAGES[0], dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)]
    kinds += [shifted(IMAGES[0], dy, dx).flip(-1) for dy in range(-2, 3) for dx in range(-2, 3)]
    seen = torch.stack([(moved.x == kind).flatten(1).all(1) for kind in kinds])
    assert bool((seen.sum(0) == 1).all())
    counts, freedom = seen.sum(1).double(), len(kinds) - 1
    chi = (counts - N / len(kinds)).square().sum() / (N / len(kinds))
    assert abs(chi - freedom) < 5 * (2 * freedom) ** 0.5


def test_a_flip_alone_shifts_nothing() -> None:
    moved = Augment(flip=True)(Batch(IMAGES), noise(3)).x
    mirrored = (moved == IMAGES.flip(-1)).flatten(1).all(1)
    assert bool((mirrored | (moved == IMAGES).flatten(1).all(1)).all())
    assert abs(mirrored.double().mean() - 0.5) < 5 * 0.5 / N**0.5


@pytest.mark.parametrize("text", ["", "flip=1", "crop", "crop=0", "crop=-1", "turn", "flip;crop=2"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        Augment.parse(text)


def test_training_moves_its_rows_alone_and_a_table_is_refused() -> None:
    common = {"latent_dim": 2, "hidden": "16", "epochs": 2, "threads": 1, "progress": "off"}
    plain, moved = (vaelab.train("digits", augment=how, **common) for how in (None, "crop=1"))
    assert torch.equal(plain.splits["validation"].x, moved.splits["validation"].x)
    assert plain.history.records[0]["loss"] != moved.history.records[0]["loss"]
    with pytest.raises(UsageError, match="--augment flip moves images"):
        vaelab.plan_run(torch.randn(50, 4), augment="flip")
    with pytest.raises(UsageError, match="crop=8 is too much for images of 8x8"):
        vaelab.plan_run("digits", augment="crop=8")
