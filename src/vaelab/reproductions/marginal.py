"""log p(x) of the models of figure 3: by importance weighting on the way, by annealing and by appendix D at the end."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from ..distributions import draw
from ..evaluation import Estimate, annealed_rows, evidence_rows
from ..evaluation.annealed import checked
from ..models import VAE
from ..noise import Noise, stream
from ..part import evaluating, exact
from ..refinements.metropolis import Field, field, move
from ..training import Rows
from .unit import Figures, judged

DRAWS = 500  # of q, for each row
ROWS, FINAL_ROWS = 500, 100  # judged on the way, and at the end, of training and of test rows
ACCEPTED = 0.9
MOVES, RATE = 60, 0.1  # of the chains of appendix D, and of their log step


def on_the_way(model: nn.Module, train: Rows, test: Rows, seed: int) -> Figures:
    """Return the mean of log (1/K) sum_k w_k on training and test rows, nats; K = 500 draws of q in 3 dimensions."""
    figures = {}
    for name, rows in (("train", train), ("test", test)):
        found = evidence_rows(model, judged(rows, train, ROWS), samples=DRAWS, seed=seed).evidence
        assert found is not None
        figures[name] = found.mean().item()
    return figures


def at_the_end(model: nn.Module, train: Rows, test: Rows, seed: int) -> Figures:
    """Return log p(x) of the same few test rows by three estimators, each {"value", "se"}, nats."""
    rows = judged(test, train, FINAL_ROWS)
    weighted = evidence_rows(model, rows, samples=DRAWS, seed=seed).evidence
    assert weighted is not None
    found = {
        "importance": weighted,
        "ais": annealed_rows(model, rows, temperatures=20, chains=4, leapfrog=4, start="posterior", seed=seed).lower,
        "appendix_d": appendix_d(model, rows, seed=seed),
    }
    return {name: Estimate.of(value).json() for name, value in found.items()}


def appendix_d(model: nn.Module, rows: Rows, *, draws: int = 50, leapfrog: int = 4, seed: int = 0) -> Tensor:
    """log p(x) of each row, (N,) nats: minus log of the mean over z ~ p(z | x) of q(z) / (p(z) p(x | z)).

    The paper's appendix D: q is a Gaussian fitted to `draws` draws, the mean is over as many others, and both come from
    chains of Hamiltonian Monte Carlo with `leapfrog` steps that start at q(z | x). On average too large: the log of the
    reciprocal of a mean. Reliable below about five dimensions.
    """
    vae = exact(checked(model))
    batch, noise = rows.drawn(seed).at(slice(None)), Noise(stream(seed, "appendix d"))
    x = batch.x.double()
    with evaluating(vae), torch.no_grad():
        q = vae.posterior(x)
        at = field(vae.log_joint(x, q, None, None))
        return reciprocal(vae, x, *_chains(at, draw(q, 2 * draws, noise), leapfrog, noise))


def reciprocal(model: VAE, x: Tensor, first: Tensor, others: Tensor) -> Tensor:
    """Return the estimate, (N,), from draws (L, N, Z) of p(z | x): a Gaussian fitted to some, averaged over others."""
    centred = first - first.mean(0)
    covariance = torch.einsum("lni,lnj->nij", centred, centred) / (len(first) - 1)
    fitted = MultivariateNormal(first.mean(0), covariance + 1e-9 * torch.eye(first.shape[-1], dtype=first.dtype))
    log_joint = model.log_joint(x, fitted, None, None)(others)
    return math.log(len(others)) - (fitted.log_prob(others) - log_joint).logsumexp(0)


def _chains(at: Field, z: Tensor, leapfrog: int, noise: Noise) -> tuple[Tensor, Tensor]:
    log_step = z.new_full((z.shape[1],), math.log(0.3))
    for _ in range(MOVES):
        z, _, chance = move(at, z, log_step.exp(), leapfrog, noise)
        log_step = log_step + RATE * (chance.mean(0) - ACCEPTED)
    half = len(z) // 2
    return z[:half], z[half:]
