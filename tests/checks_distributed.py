"""Exact checks of several processes that share a batch, played by one."""

from __future__ import annotations

import torch
from torch import Tensor

from checks_figures import small
from exact import check, normal, real_rows
from vaelab.noise import Noise
from vaelab.objectives import ELBO
from vaelab.training import Ranks


def gradient(world: int, x: Tensor) -> Tensor:
    """The gradient of a batch, added up over the shares of so many processes."""
    total = torch.zeros(())
    model = small(real_rows(x))
    parameters = list(model.parameters())
    for rank in range(world):
        share = Ranks(rank, world).share(len(x))
        noise = share.noise(Noise.seeded(3))
        losses, _ = ELBO(samples=2)(model, share.of(x), noise=noise, step=0)
        parts = torch.autograd.grad(share.mean(losses["model"]), parameters)
        total = total + torch.cat([part.reshape(-1) for part in parts])
    return total


@check
def shares_of_a_batch_add_up_to_it() -> None:
    """Two and three processes, five rows and two: of two rows one of three processes has none."""
    for rows in (5, 2):
        x = normal(rows, 3)
        for world in (2, 3):
            assert torch.allclose(gradient(world, x), gradient(1, x), rtol=1e-10, atol=1e-12), (rows, world)
