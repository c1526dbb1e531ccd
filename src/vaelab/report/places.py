"""The places z whose decodes a report shows: quantiles of the prior, and the plane that they make."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from ..distributions import draw
from ..models import VAE
from ..noise import Noise, stream
from ..part import inference

SIDE = 15  # decodes along each side of the plane
PRIOR_DRAWS = 4096


def needs_condition(model: nn.Module) -> bool:
    """Return whether some part of the model must be given a condition."""
    return any(getattr(module, "condition", 0) for module in model.modules())


def decodes(model: nn.Module) -> bool:
    """Return whether z alone gives p(x | z)."""
    return isinstance(model, VAE) and not needs_condition(model)


def prior_quantiles(model: VAE, codes: NDArray[np.float64] | None, levels: NDArray[np.float64]) -> Tensor:
    """Return the quantiles of each latent dimension at these levels in (0, 1): (L, Z).

    Of p(z) in closed form where its family has one, else of 4,096 draws of it; where `codes` (N, Z) are given, of
    these (a plain autoencoder's prior takes no part in its training).
    """
    u = torch.as_tensor(levels, dtype=torch.float64)
    if codes is not None:
        return torch.from_numpy(np.quantile(codes, levels, axis=0))
    with inference(model):
        p: Distribution = model.prior_at()
        inner = p.base_dist if isinstance(p, Independent) else p
        try:
            return inner.icdf(u[:, None].to(next(model.parameters()).device)).double().cpu()
        except NotImplementedError:
            noise = Noise(stream(0, "prior"))
            return draw(p.expand(torch.Size([PRIOR_DRAWS])), 1, noise)[0].double().cpu().quantile(u, dim=0)


def plane(along: Tensor) -> Tensor:
    """Return the points of a plane from the values of its two axes (L, 2): (L * L, 2), in the order of a picture.

    The first latent grows to the right, the second upwards: row i of the picture has its (L - 1 - i)-th value.
    """
    first, second = along[:, 0], along[:, 1].flip(0)
    return torch.stack([first.repeat(len(second)), second.repeat_interleave(len(first))], 1)


def levels(count: int = SIDE) -> NDArray[np.float64]:
    """Return (i + 1/2) / count: equal steps of probability, the ends left out."""
    return (np.arange(count) + 0.5) / count
