"""Reconstructions judged by structure: the multi-scale structural similarity of images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical, Distribution

from ..distributions import Columns, LowRankCategorical, entries
from ..errors import UsageError
from ..models import Terms
from ..shapes import Float
from .base import BoundObjective, Objective

POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of each scale, finest first (Wang et al. 2003)
WINDOW, DEVIATION = 11, 1.5
STABLE = (0.01**2, 0.03**2)  # keep the two quotients finite, for images in [0, 1]
LEAST = 0.01  # below which a power goes on as its tangent


def window(size: int, like: Tensor) -> Float[Tensor, " S"]:
    """Return Gaussian weights of deviation 1.5 that sum to one."""
    at = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    weight = torch.exp(-0.5 * (at / DEVIATION).square())
    return weight / weight.sum()


def _blur(x: Tensor, weight: Tensor) -> Tensor:
    """Weighted means over every window that lies in the image (N, 1, H, W)."""
    return F.conv2d(F.conv2d(x, weight.reshape(1, 1, -1, 1)), weight.reshape(1, 1, 1, -1))


def ssim(x: Float[Tensor, "N H W"], y: Float[Tensor, "N H W"]) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Return the means over windows of l c s and of c s, for images in [0, 1] (Wang, Bovik, Sheikh & Simoncelli 2004).

    l = (2 m_x m_y + C1) / (m_x² + m_y² + C1), c s = (2 s_xy + C2) / (s_x² + s_y² + C2): means, variances and covariance
    under a Gaussian window of 11 pixels, of fewer where the image is smaller (an odd number).
    """
    weight = window(window_size(x.shape[-2:]), x)
    x, y = x.unsqueeze(1), y.unsqueeze(1)
    a, b = _blur(x, weight), _blur(y, weight)
    xx, yy, xy = (_blur(u * v, weight) - m * n for u, v, m, n in ((x, x, a, a), (y, y, b, b), (x, y, a, b)))
    contrast = (2 * xy + STABLE[1]) / (xx + yy + STABLE[1])
    light = (2 * a * b + STABLE[0]) / (a.square() + b.square() + STABLE[0])
    return (light * contrast).mean((1, 2, 3)), contrast.mean((1, 2, 3))


def window_size(size: Sequence[int]) -> int:
    """Return 11, or the largest odd number that fits the shorter side."""
    side = min(size)
    return min(WINDOW, side if side % 2 else side - 1)


def scales(size: Sequence[int]) -> int:
    """Return how many times an image can be halved and still hold a window, itself counted; at most 5.

    >>> [objectives.similarity.scales(size) for size in ((8, 8), (28, 28), (64, 48), (176, 176))]
    [1, 2, 3, 5]
    """
    side, needed = min(size), window_size(size)
    return sum(side >> level >= needed for level in range(len(POWERS)))


def ms_ssim(x: Float[Tensor, "N H W"], y: Float[Tensor, "N H W"]) -> Float[Tensor, " N"]:
    """prod_j (c s)_j^(w_j) l_M^(w_M) over scales j = 1 .. M, each half the size of the one before: 1 for equal images.

    Wang, Simoncelli & Bovik 2003, eq. 7, for images in [0, 1]. As many of their five scales as the image has, with
    their powers divided by the sum. A mean c s below 0.01 has no such power, or one of endless slope: its power goes on
    along the tangent there.

    >>> x = torch.rand(7, 28, 28)
    >>> torch.allclose(objectives.ms_ssim(x, x), torch.ones(7))
    True
    """
    number = scales(x.shape[-2:])
    power = [w / sum(POWERS[:number]) for w in POWERS[:number]]
    value = torch.ones_like(x[:, 0, 0])
    for level, w in enumerate(power):
        if level:
            x, y = (F.avg_pool2d(v.unsqueeze(1), 2).squeeze(1) for v in (x, y))
        whole, contrast = ssim(x, y)
        value = value * _power(whole if level == number - 1 else contrast, w)
    return value


def _power(base: Tensor, power: float) -> Tensor:
    tangent = LEAST**power + power * LEAST ** (power - 1) * (base - LEAST)
    return torch.where(base >= LEAST, base.clamp(min=LEAST) ** power, tangent)


class Similarity(BoundObjective):
    """-weight (1 - MS-SSIM(x, E[x | z])) - KL(q || p): images that look alike (Snell et al. 2017).

    Their expected-loss VAE with the multi-scale structural similarity of Wang et al. 2003, averaged over channels; how
    many scales there are depends on the image (`similarity.scales`). This is no bound on log p(x): what `evaluate` says
    of log p(x) is that of the model's own likelihood, of which training sees E[x | z], and through `pixels` times
    log p(x | z) what the mean does not move, such as a learned scale (0: as published). The range of pixels is that of
    the training rows. Raises UsageError for what is no image, and for a likelihood without a mean.

    >>> model, objective = recipes.ms_ssim_vae((1, 8, 8), 2)
    >>> losses, terms = objective(model, torch.zeros(7, 1, 8, 8), noise=Noise.seeded(0), step=0)
    >>> losses["model"].shape
    torch.Size([7])
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, shape: Sequence[int], weight: float = 100.0, pixels: float = 1e-3, beta: float = 1.0, samples: int = 1
    ) -> None:
        super().__init__()
        self.shape, self.weight, self.pixels, self.beta, self.samples = tuple(shape), weight, pixels, beta, samples
        self.require(
            shape=(len(self.shape) == 3 and min(self.shape[1:]) > 1, "that of images, (channels, height, width)"),
            weight=(weight > 0, "above 0"),
            pixels=(pixels >= 0, "at least 0"),
            beta=(beta >= 0, "at least 0"),
            samples=(samples >= 1, "at least 1"),
        )
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.ones(()))

    def start(self, x: Tensor, rows: int) -> None:
        """Take the range of the pixels from these rows."""
        seen = x[~x.isnan()]
        if len(seen) and seen.max() > seen.min():
            self.low.copy_(seen.min())
            self.high.copy_(seen.max())

    def bound(self, terms: Terms, step: int) -> Float[Tensor, " B"]:
        """Return what is maximised, (B,); not a bound on log p(x)."""
        seen = expected(terms.px, terms.observed, self)
        x = terms.x.expand_as(seen)
        a, b = (((v - self.low) / (self.high - self.low)).reshape(-1, *self.shape[1:]) for v in (x, seen))
        alike = ms_ssim(a, b).reshape(*seen.shape[:2], -1).mean(-1)
        fit = self.weight * (alike - 1) + self.pixels * terms.log_px
        return terms.mean(fit - self.beta * terms.kl_total)


def expected(px: Distribution, observed: Tensor | None, objective: Objective) -> Float[Tensor, "K B *X"]:
    """Return E[x | z], 0 where x was not observed; UsageError where categories have no mean."""
    law = entries(px)
    columns = [entries(d) for d in law.groups] if isinstance(law, Columns) else [law]
    if any(isinstance(d, (Categorical, LowRankCategorical)) for d in columns):
        raise UsageError(
            f"{type(objective).__name__} compares x with E[x | z], and categories have no mean. "
            "Use another likelihood, or the objective elbo."
        )
    return px.mean if observed is None else torch.where(observed, px.mean, 0)
