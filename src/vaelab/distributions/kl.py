"""KL(q || p) in closed form, by the pair of types: the one place where these formulas stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, kl_divergence

from ..shapes import Float

_TABLE: dict[tuple[type[Distribution], type[Distribution]], Callable[[Any, Any], Tensor]] = {}


def register_kl(
    q: type[Distribution], p: type[Distribution]
) -> Callable[[Callable[[Any, Any], Tensor]], Callable[[Any, Any], Tensor]]:
    """Register KL(q || p) for a pair of types, as they stand inside `Independent`.

    The function returns one number per batch entry of the two, so a factorised pair gives one per dimension.
    """

    def keep(formula: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
        _TABLE[q, p] = formula
        return formula

    return keep


def closed_form_kl(q: Distribution, p: Distribution) -> Float[Tensor, "*batch D"] | None:
    """Return KL(q || p) as (*batch, D) per latent dimension if both factorise, else (*batch, 1); None if unknown.

    The formula follows the pair of types, ours first, then those that torch registers.

    >>> q, p = (torch.distributions.Normal(torch.full((1, 2), m), 1.0) for m in (1.0, 0.0))
    >>> q, p = torch.distributions.Independent(q, 1), torch.distributions.Independent(p, 1)
    >>> distributions.closed_form_kl(q, p)  # per dimension: (mu_q - mu_p)^2 / 2
    tensor([[0.5000, 0.5000]])
    """
    inner_q, inner_p = _inside(q), _inside(p)
    formula = _TABLE.get((type(inner_q), type(inner_p)))
    if formula is None:
        formula = kl_divergence
        if type(inner_q) is type(inner_p):  # some of torch's formulas (Bernoulli's) do not broadcast by themselves
            inner_p = inner_p.expand(torch.broadcast_shapes(inner_q.batch_shape, inner_p.batch_shape))
    try:
        kl = formula(inner_q, inner_p)
    except NotImplementedError:
        return None
    batch = len(torch.broadcast_shapes(q.batch_shape, p.batch_shape))
    return kl.flatten(batch) if kl.ndim > batch else kl.unsqueeze(-1)


def _inside(d: Distribution) -> Distribution:
    return d.base_dist if isinstance(d, Independent) else d


@register_kl(Normal, Normal)
def _normal_normal(q: Normal, p: Normal) -> Tensor:
    """1/2 (s² + m² - 1) - log s with s = sigma_q / sigma_p, m = (mu_q - mu_p) / sigma_p (Kingma & Welling 2013, B)."""
    s, m = q.scale / p.scale, (q.loc - p.loc) / p.scale
    return 0.5 * (s * s + m * m - 1) - s.log()


@register_kl(MultivariateNormal, Normal)
def _full_normal(q: MultivariateNormal, p: Normal) -> Tensor:
    """1/2 (tr(P Sigma) + m' P m - D) - log det L + log det sigma_p, with Sigma = L L', P = diag(sigma_p)^-2."""
    rows = (q.scale_tril / p.scale.unsqueeze(-1)).square().sum(-1)
    m = (q.loc - p.loc) / p.scale
    log_det = q.scale_tril.diagonal(dim1=-2, dim2=-1).log() - p.scale.log()
    return (0.5 * (rows + m * m - 1) - log_det).sum(-1)
