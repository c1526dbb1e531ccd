"""Training images moved a little: another picture of the same thing at each use."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UsageError
from ..noise import Noise
from .rows import Batch


@dataclass(frozen=True)
class Augment:
    """x'[c, i, j] = x[c, i + dy, s (j + dx)]: shifted by whole pixels, mirrored by chance; the edges are repeated.

    dy, dx are uniform on -crop .. crop, which is a crop of the image with its edges repeated `crop` times; with `flip`
    left and right change places for every second image. Masks move with their images. Training rows alone are moved:
    what is judged is not.

    >>> Augment.parse("flip,crop=2")
    Augment(flip=True, crop=2)
    """

    flip: bool = False
    crop: int = 0

    @classmethod
    def parse(cls, text: str) -> Augment:
        """Read "flip", "crop=2" or "flip,crop=2"; UsageError for anything else."""
        flip, crop = False, 0
        for word in text.split(","):
            name, _, number = word.strip().partition("=")
            if name == "flip" and not number:
                flip = True
            elif name == "crop" and number.isdecimal() and int(number) > 0:
                crop = int(number)
            else:
                raise UsageError(f'augment is {text!r}: expected "flip", "crop=2" or "flip,crop=2".')
        return cls(flip, crop)

    def __call__(self, batch: Batch, noise: Noise) -> Batch:
        """Return the batch, x (B, C, H, W), with each image moved by draws of its own."""
        rows, height, width = len(batch.x), *batch.x.shape[-2:]
        if self.crop >= min(height, width):
            raise UsageError(f"augment crop={self.crop} is too much for images of {width}x{height}.")
        u = noise.uniform((1, rows, 3), batch.x)[0]
        steps = 2 * self.crop + 1
        dy, dx = ((u[:, axis] * steps).long().clamp(max=steps - 1) - self.crop for axis in (0, 1))
        y = (torch.arange(height, device=u.device) + dy[:, None]).clamp(0, height - 1)
        x = (torch.arange(width, device=u.device) + dx[:, None]).clamp(0, width - 1)
        if self.flip:
            x = torch.where(u[:, 2:] < 0.5, x.flip(1), x)

        def moved(images: Tensor) -> Tensor:
            pixels = images.flatten(-2)  # (B, C, H W)
            place = (y[:, :, None] * width + x[:, None, :]).flatten(1)
            return pixels.gather(-1, place[:, None].expand(-1, pixels.shape[1], -1)).view_as(images)

        observed = None if batch.observed is None else moved(batch.observed)
        return dataclasses.replace(batch, x=moved(batch.x), observed=observed)
