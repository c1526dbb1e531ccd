"""New rows in which some columns are given, from a model that was not trained to be given anything."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data import Schema
from ..distributions import draw, entries
from ..errors import UsageError
from ..models.vae import VAE, at_rows
from ..noise import Noise, stream
from ..part import exact, inference

CANDIDATES, AT_ONCE = 100_000, 4096  # draws of z that are weighed, and how many in one pass


def generate_given(model: nn.Module, schema: Schema, n: int, raw: Tensor, *, seed: int = 0) -> tuple[Tensor, float]:
    """z ~ p(z | x_given), x ~ p(x | z): n rows with x_given as it is, (n, *shape), and how many draws of z carry them.

    raw (*shape) is the row in the user's units, NaN where nothing is given. By importance resampling: 100,000 draws
    z ~ p(z), picked by p(x_given | z). The second number is the effective one, (sum w)² / sum w².
    Raises UsageError for a model without a single latent space.
    """
    if not isinstance(model, VAE):
        raise UsageError(f"a {type(model).__name__} cannot be given columns after training. Train with --condition.")
    model, noise = exact(model), Noise(stream(seed, "given"))
    x, there = schema.encode(raw[None], dtype=torch.float64), schema.arrange(~raw[None].isnan())
    log_w, places = [], []
    like = x.new_zeros(())
    with inference(model):
        for _ in range(0, CANDIDATES, AT_ONCE):
            z = draw(at_rows(model.prior_at(), AT_ONCE), 1, noise)[0]
            each = entries(model.decode(z)).log_prob(x)
            log_w.append(torch.where(there, each, 0).flatten(1).sum(1))
            places.append(z)
        z, weight = torch.cat(places), torch.cat(log_w).softmax(0)
        u = noise.uniform((1, n), like)[0]
        pick = torch.searchsorted(weight.cumsum(0), u).clamp(max=len(z) - 1)
        x = torch.cat([draw(model.decode(some), 1, noise)[0] for some in z[pick].split(AT_ONCE)])
    rows = schema.decode(x, round=True)
    return torch.where(raw.isnan(), rows, raw), (1 / weight.square().sum()).item()
