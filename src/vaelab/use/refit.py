"""A prior fitted after training: a density of the codes of the rows, in place of the model's own."""

from __future__ import annotations

import copy
import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..conditional import Conditional
from ..data import Dataset
from ..errors import TrainingError, UsageError
from ..memory import at_once
from ..models import VAE
from ..noise import Noise, stream
from ..part import evaluating, inference
from ..training import Rows
from ..training.schedules import learning_rate

BLOCK = 1024  # rows in one pass, at most
ENOUGH = 50_000  # codes to fit to, as far as 50 draws for each row give them
SET_APART = 10  # one row in so many: their codes decide which parameters are kept
START = 2000  # rows that a prior may start from
BATCH, RATE, EVERY = 512, 3e-3, 100  # codes in a step, learning rate, steps between looks at the rows set apart


@runtime_checkable
class FitsItself(Protocol):
    """A prior that knows better than gradient ascent, or where that should start."""

    def fit(self, z: Tensor, seed: int = 0) -> bool:
        """Set the parameters from codes z (N, D); return whether nothing is left to gradient ascent."""


def codes_of(model: VAE, data: Dataset, *, most: int = 50, seed: int = 0) -> Tensor:
    """Return draws z ~ q(z | x), (K, N, Z), together from the aggregated posterior; K N is about 50,000, K <= `most`.

    Draws, not means: a density of the means alone would leave out the width of each q.
    """
    rows = Rows(data, device=next(model.parameters()).device, dtype=next(model.parameters()).dtype).drawn(seed)
    samples = min(most, max(1, math.ceil(ENOUGH / len(rows))))
    noise = Noise(stream(seed, "refit", rows.device))
    parts = []
    with inference(model):
        for batch in rows.in_order(at_once(model, samples * data.schema.dims, most=BLOCK)):
            terms = model.terms(
                batch.x, samples=samples, observed=batch.observed, condition=batch.condition, noise=noise
            )
            assert isinstance(terms.z, Tensor)
            parts.append(terms.z)
    return torch.cat(parts, 1).clone()  # clone: what was made under inference cannot be trained on


def log_prior(model: VAE, data: Dataset, *, seed: int = 0) -> float:
    """E[log p(z)], z ~ q(z | x): averaged over the rows, in nats; what it gains by a refit, the bound gains."""
    z = codes_of(model, data, seed=seed)
    with inference(model):
        return float(torch.stack([model.prior_at().log_prob(some).double().mean() for some in z]).mean())


def refit(model: nn.Module, data: Dataset, prior: Conditional, *, steps: int = 2000, seed: int = 0) -> VAE:
    """Maximise E_q[log p(z)] over p, averaged over rows: a copy of the model, with a copy of this prior fitted to them.

    That is all of the bound that the prior has a say in: its optimum is the aggregated posterior (Hoffman & Johnson
    2016; after training: Ghosh et al. 2020). The prior fits itself where it knows how (a mixture by
    expectation-maximisation), else `steps` of gradient ascent go uphill, and what is kept are the parameters under
    which the codes of a tenth of the rows, set apart, were most probable. A prior with nothing to fit is put in place
    as it is. The new prior knows no condition. What is handed in stays as it is; equal seeds give equal priors.

    Raises UsageError for a model that has no single latent space, or a prior of another size.
    """
    if not isinstance(model, VAE):
        raise UsageError(f"refit: a {type(model).__name__} has no single latent space to fit a prior on.")
    if steps < 1:
        raise UsageError(f"refit: steps must be at least 1, got {steps}.")
    # together, so that a prior that holds the model's posterior holds the copy of it
    twin, fitted = copy.deepcopy((model, prior))
    like = next(model.parameters())
    new = VAE(**{**twin.arguments(), "prior": fitted.to(like.device, like.dtype)}).eval()
    theirs = {id(p) for part in (new.posterior, new.likelihood) for p in part.parameters()}
    free = [p for p in fitted.parameters() if id(p) not in theirs and p.requires_grad]
    if free:
        _fit(new, fitted, free, codes_of(model, data, seed=seed), data, steps, seed)
    return new


def _fit(
    model: VAE, prior: Conditional, free: list[nn.Parameter], z: Tensor, data: Dataset, steps: int, seed: int
) -> None:
    order = torch.randperm(len(data), generator=stream(seed, "refit rows"))
    some = Rows(data.take(order[:START]), device=z.device, dtype=z.dtype).drawn(seed).at(slice(None))
    prior.start(some.x, len(data))
    if isinstance(prior, FitsItself) and prior.fit(z.flatten(0, 1), seed):
        return
    apart = order[: len(order) // SET_APART].to(z.device)
    judged = z[:, apart].flatten(0, 1)[: 10 * BATCH]
    judged = judged if len(judged) else z.flatten(0, 1)
    fitted = z[:, order[len(order) // SET_APART :].to(z.device)].flatten(0, 1)
    pick = stream(seed, "refit order")
    optimiser = torch.optim.Adam(free, lr=RATE)
    best, kept = -math.inf, [p.detach().clone() for p in free]
    with evaluating(model):
        terms = model.terms(some.x[:2], observed=None if some.observed is None else some.observed[:2],
                            condition=None if some.condition is None else some.condition[:2])  # fmt: skip
        for step in range(steps + 1):
            if step % EVERY == 0 or step == steps:
                with torch.no_grad():
                    now = prior().log_prob(judged).double().mean().item()
                if now > best:
                    best, kept = now, [p.detach().clone() for p in free]
            batch = fitted[torch.randint(len(fitted), (BATCH,), generator=pick).to(z.device)]
            gradients = torch.autograd.grad(-prior().log_prob(batch).mean(), free, allow_unused=True)
            for parameter, gradient in zip(free, gradients):
                parameter.grad = gradient
            optimiser.param_groups[0]["lr"] = learning_rate(RATE, step / steps, step, warmup=0, decay="cosine")
            optimiser.step()
            if prior.updates:
                prior.update(terms)
    if best == -math.inf:
        raise TrainingError(f"refit: log p(z) of a {type(prior).__name__} prior is not finite on the codes.")
    with torch.no_grad():
        for parameter, value in zip(free, kept):
            parameter.copy_(value)
            parameter.grad = None
