"""The best decoder that ignores z: what a model must beat before it has learned anything of the rows."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from ..models import Model, Terms
from ..models.terms import layers
from ..noise import Noise, stream
from ..part import inference
from ..shapes import Float
from ..training import Rows

STEPS, RATE = 200, 0.1  # 10 units of travel: any logit or log-deviation that can matter is within reach
ROWS, BATCHES = 1000, 4  # rows to fit it on, and in how many parts a step takes them


class Constant(nn.Module):
    """A network whose output is the same for every z."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the value for z of shape (*lead, Z): (*lead, *outputs)."""
        return self.value.expand(*z.shape[:-1], *self.value.shape)


def constant_decoder(model: nn.Module, rows: Rows) -> nn.Module | None:
    """Return p(x | z) of the model's own family, with the one output that fits these rows best; None if it has none.

    The optimum of the bound is never below max over c of E log p(x; c), since a network may ignore z and q be
    the prior: a bound below it proves that training failed. The model is left as it is.
    """
    likelihood = getattr(model, "likelihood", None)
    if not isinstance(getattr(likelihood, "network", None), nn.Module):
        return None
    assert isinstance(model, Model)
    rows = rows.first(ROWS).drawn(0)
    batch = rows.at(slice(0, len(rows)))
    with inference(model):
        terms = model.terms(batch.x, observed=batch.observed, condition=batch.condition, noise=_noise(rows))
        z = next(iter(layers(terms.z).values()))
        given = (z,) if batch.condition is None else (z, batch.condition)
        start = likelihood.network(*given).mean((0, 1))  # type: ignore[union-attr]
    twin = copy.deepcopy(likelihood)
    assert isinstance(twin, nn.Module)
    twin.network = Constant(start.clone())
    with torch.inference_mode(False), torch.enable_grad():
        x, nothing = batch.x.clone(), z.clone()
        seen = None if batch.observed is None else batch.observed.clone()
        optimiser = torch.optim.Adam(twin.parameters(), lr=RATE)
        for step in range(STEPS):
            for group in optimiser.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS))
            part = slice(step % BATCHES, None, BATCHES)
            some = nothing[:, part]
            now = Terms(x[part], some, terms.q, terms.p, twin(some), None if seen is None else seen[part])
            optimiser.zero_grad()
            (-now.log_px.mean()).backward()
            optimiser.step()
            if getattr(twin, "updates", False):
                twin.update(now)  # type: ignore[operator]
    return twin.requires_grad_(False)


def constant_log_px(model: nn.Module, decoder: nn.Module, rows: Rows) -> Float[Tensor, " N"]:
    """Return log p(x) of each row, (N,), under a decoder that ignores z, in nats of the model's units."""
    assert isinstance(model, Model)
    found = []
    with torch.inference_mode():
        for batch in rows.drawn(0).in_order(1000):
            terms = model.terms(batch.x, observed=batch.observed, condition=batch.condition, noise=_noise(rows))
            z = next(iter(layers(terms.z).values()))
            found.append(Terms(batch.x, z, terms.q, terms.p, decoder(z), batch.observed).log_px[0].double())
    return torch.cat(found)


def _noise(rows: Rows) -> Noise:
    return Noise(stream(0, "baseline", rows.device))
