"""What the latent dimensions carry: active units and mutual information."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import comparable_anywhere, draw
from ..models import Model
from ..models.terms import layers
from ..noise import Noise, stream
from ..part import inference
from ..shapes import Float
from ..training import Rows

ACTIVE = 0.01


def active_units(mean: Float[Tensor, "N Z"]) -> int:
    """Return #{d: Var over x of E_q[z_d] > 0.01} for posterior means (N, D) (Burda et al. 2016, section 5.2)."""
    return int((mean.var(0, correction=0) > ACTIVE).sum())


def aggregate_log_prob(q: Distribution, z: Tensor, rows: int) -> Float[Tensor, " M"]:
    """Return log sum over the first `rows` rows of q(z | x_n), (M,) float64, in bounded memory."""
    block = max(1, 2**22 // (rows * z[0].numel()))
    return torch.cat([q.log_prob(some.unsqueeze(1))[:, :rows].double().logsumexp(1) for some in z.split(block)])


def mutual_information(
    model: nn.Module, rows: Rows, *, most: int = 5000, seed: int = 0
) -> tuple[float, float | None, float] | None:
    """Return (I_q(x; z), KL(q(z) || p(z)), standard error of the first) in nats; None where q has no density.

    I = E[log q(z | x) - log q(z)], q(z) = 1/N sum_j q(z | x_j) over at most `most` rows, one draw each
    (Hoffman & Johnson 2016). At most log N: a value near that is a lower bound. For several layers: of the one whose q
    is given x alone; None for KL(q(z) || p(z)) where its p is given other layers.
    """
    assert isinstance(model, Model)
    rows = rows.drawn(seed)
    noise = Noise(stream(seed, "mutual information", rows.device))
    pick = torch.randperm(len(rows), generator=stream(seed, "rows"))[:most].to(rows.device)
    with inference(model):
        batch = rows.at(pick)
        terms = model.terms(batch.x, observed=batch.observed, condition=batch.condition, noise=noise)
        name, q = next((n, d) for n, d in layers(terms.q).items() if len(d.batch_shape) == 1)
        p = layers(terms.p)[name]
        if not comparable_anywhere(q, p):
            return None
        z = draw(q, 1, noise)[0]
        own = q.log_prob(z).double()
        n = len(z)
        aggregate = aggregate_log_prob(q, z, n) - torch.log(torch.tensor(float(n), dtype=torch.float64))
        information = own - aggregate
        error = information.std().item() / n**0.5 if n > 1 else math.nan
        marginal = None if p.batch_shape else (aggregate - p.log_prob(z).double()).mean().item()
        return information.mean().item(), marginal, error
