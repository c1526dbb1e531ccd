"""Why a bound is not log p(x): the family of q is too small, or the encoder does not find the best of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from ..distributions import draw
from ..errors import UsageError
from ..models import VAE, Terms
from ..noise import Noise, RowNoise
from ..part import evaluating, exact
from ..training import Batch, Rows
from .annealed import annealed_rows, checked
from .evaluate import Estimate

BLOCK = 128  # rows that are optimised together
DRAWS = 16  # of a step, half of them mirror images
EVERY, PATIENCE, MOST = 50, 4, 40  # steps between looks, looks without a gain, looks at most
RATE = 0.03


@dataclass(frozen=True)
class Gaps:
    """log p(x) - ELBO(q) = approximation + amortisation (Cremer, Li & Duvenaud 2018, eq. 6), means in nats per row.

    approximation = log p(x) - ELBO(q*), q* the best q of the family for the row; amortisation = ELBO(q*) - ELBO(q).
    log p(x) is the larger of two lower bounds on average, `kind` "ais" or "iwae" (from q*), so the first may be too
    small, never too large but by chance.
    """

    rows: int
    log_evidence: Estimate
    kind: str
    elbo: Estimate
    best: Estimate
    inference: Estimate
    approximation: Estimate
    amortisation: Estimate

    def json(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


def inference_gaps(
    model: nn.Module,
    rows: Rows,
    *,
    most: int = 100,
    samples: int = 1000,
    temperatures: int = 100,
    chains: int = 8,
    seed: int = 0,
    tick: Callable[[float], None] = lambda share: None,
) -> Gaps:
    """Return the gaps of at most `most` of these rows, picked at random, in nats of the model's units.

    Differences do not change with units. Both bounds are over the same `samples` draws of standard noise. Raises
    UsageError for a q(z | x) that is no Gaussian, or that is refined after the encoder.
    """
    if samples < 2 or most < 1:
        raise UsageError(f"gaps: samples must be at least 2 and rows at least 1, got {samples} and {most}.")
    vae, rows = exact(checked(model)), rows.few(most, seed).drawn(seed)
    if vae.refine is not None:
        raise UsageError("gaps: q(z | x) is refined row by row after the encoder, so it is not amortised.")
    own: list[Tensor] = []
    best: list[Tensor] = []
    weighted = []
    with evaluating(vae):
        for first in range(0, len(rows), BLOCK):
            batch = rows.at(slice(first, first + BLOCK))
            index = range(first, first + len(batch.x))
            joint, q = _parts(vae, batch)
            fitted = best_q(q, joint, RowNoise(seed, index, 4), RowNoise(seed, index, 5))
            with torch.no_grad():
                for some, into in ((q, own), (fitted, best)):
                    log_w = _log_w(some, joint, samples, RowNoise(seed, index, 6))
                    into.append(log_w.mean(0))
                weighted.append(log_w.logsumexp(0) - math.log(samples))
            tick(0.5 * (first + len(batch.x)) / len(rows))
    annealed = annealed_rows(vae, rows, temperatures=temperatures, chains=chains, seed=seed).lower
    elbo, best_elbo, iwae = torch.cat(own), torch.cat(best), torch.cat(weighted)
    kind, log_px = ("ais", annealed) if annealed.mean() > iwae.mean() else ("iwae", iwae)
    return Gaps(
        len(rows),
        Estimate.of(log_px),
        kind,
        Estimate.of(elbo),
        Estimate.of(best_elbo),
        Estimate.of(log_px - elbo),
        Estimate.of(log_px - best_elbo),
        Estimate.of(best_elbo - elbo),
    )


def best_q(q: Distribution, joint: Callable[[Tensor], Tensor], noise: Noise, judge: Noise) -> Distribution:
    """Return the Gaussian of q's family that maximises each row's own ELBO, by Adam from where the encoder put it.

    Every 50 steps each row keeps what was best on draws of their own; it ends when the mean of those stops rising.
    """
    loc, factor = _parameters(q)
    free = [v.detach().clone().requires_grad_() for v in (loc, factor)]
    optimiser = torch.optim.Adam(free, lr=RATE)
    e = judge.normal((20 * DRAWS, *loc.shape), loc)
    kept, best, idle = [v.detach().clone() for v in free], _bound(free, joint, e), 0
    for look in range(MOST):
        for _ in range(EVERY):
            half = noise.normal((DRAWS // 2, *loc.shape), loc)
            optimiser.zero_grad()
            (-_bound(free, joint, torch.cat([half, -half])).sum()).backward(inputs=free)
            optimiser.step()
        optimiser.param_groups[0]["lr"] = RATE * (1 - look / MOST)
        now = _bound(free, joint, e).detach()
        better = now > best
        gain = torch.where(better, now - best, 0).mean().item()
        best = torch.where(better, now, best.detach())
        for old, new in zip(kept, free):
            old[better] = new.detach()[better]
        idle = 0 if gain > 1e-4 else idle + 1
        if idle == PATIENCE:
            break
    return _gaussian(*kept)


def _bound(parameters: list[Tensor], joint: Callable[[Tensor], Tensor], e: Tensor) -> Tensor:
    """E[log p(x, z)] + entropy of q, (B,), z = loc + L e."""
    loc, factor = parameters
    q = _gaussian(loc, factor)
    lower = q.scale_tril if isinstance(q, MultivariateNormal) else torch.diag_embed(factor.exp())
    z = loc + (lower @ e.unsqueeze(-1)).squeeze(-1)
    return joint(z).mean(0) + q.entropy()


def _parameters(q: Distribution) -> tuple[Tensor, Tensor]:
    """Return loc (B, Z) and log deviations (B, Z), or the factor with log diagonal (B, Z, Z)."""
    if isinstance(q, Independent) and isinstance(q.base_dist, Normal):
        return q.base_dist.loc, q.base_dist.scale.log()
    if isinstance(q, MultivariateNormal):
        diagonal = q.scale_tril.diagonal(dim1=-2, dim2=-1).log()
        return q.loc, q.scale_tril.tril(-1) + torch.diag_embed(diagonal)
    raise UsageError(f"gaps: the best q of a family is sought among Gaussians, q(z | x) is a {type(q).__name__}.")


def _gaussian(loc: Tensor, factor: Tensor) -> Distribution:
    if factor.ndim == loc.ndim:
        return Independent(Normal(loc, factor.exp(), validate_args=False), 1, validate_args=False)
    lower = factor.tril(-1) + torch.diag_embed(factor.diagonal(dim1=-2, dim2=-1).exp())
    return MultivariateNormal(loc, scale_tril=lower, validate_args=False)


def _parts(model: VAE, batch: Batch) -> tuple[Callable[[Tensor], Tensor], Distribution]:
    """Return z -> log p(x, z), and q(z | x), of these rows."""
    like = next(model.parameters())
    x, observed = batch.x.to(like), batch.observed
    x = x if observed is None else torch.where(observed, x, 0)
    condition = None if batch.condition is None else batch.condition.to(like)
    with torch.no_grad():
        q = model.posterior_at(x, observed, condition)

    def joint(z: Tensor) -> Tensor:
        t = Terms(x, z, q, model.prior_at(condition), model.decode(z, condition), observed)
        return t.log_px + t.log_pz

    return joint, q


def _log_w(q: Distribution, joint: Callable[[Tensor], Tensor], samples: int, noise: Noise) -> Tensor:
    z = draw(q, samples, noise)
    return joint(z) - q.log_prob(z)
