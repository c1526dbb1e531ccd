"""Monte Carlo EM and wake-sleep against the linear model, whose posterior and whose optimum are known."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from oracles import LinearGaussian, close, noise, rows, tensor
from vaelab.errors import UsageError
from vaelab.objectives import MonteCarloEM
from vaelab.recipes import RECIPES
from vaelab.training import Settings, optimise

TRUTH = LinearGaussian.random(5, 2, seed=3, s2=0.5)


def chains(n: int, **arguments: float) -> MonteCarloEM:
    objective = MonteCarloEM(2, **arguments).double()  # type: ignore[arg-type]
    objective.start(torch.zeros(1, 5), n)
    return objective


def test_chains_reach_the_exact_posterior_and_the_acceptance_asked_for() -> None:
    """1,500 chains of one row, from a q that is wrong: mean and covariance of p(z | x) within five errors."""
    n, x = 1500, TRUTH.sample(1, seed=4)
    V, c, S = TRUTH.encoder()
    model = TRUTH.vae(encoder=(0 * V, c + 3, 4 * S))  # too wide, and beside the truth
    objective, index, source = chains(n, updates=1), torch.arange(n), noise(2)
    for _ in range(60):
        objective(model, tensor(x).expand(n, 5), noise=source, step=0, index=index)
    z = objective.codes.numpy()
    mean, S = TRUTH.posterior(x)
    error = np.sqrt(np.diag(S) / n)
    assert (np.abs(z.mean(0) - mean[0]) < 5 * error).all()
    products = ((z - mean)[:, :, None] * (z - mean)[:, None, :]).reshape(n, -1)
    error = products.std(0) / math.sqrt(n)
    assert error.max() < 0.05
    assert (np.abs(products.mean(0) - S.ravel()) < 5 * error).all()
    with torch.no_grad():
        log_joint = model.log_joint(tensor(x).expand(n, 5), model.posterior(tensor(x).expand(n, 5)), None, None)
        chance = objective._moved(log_joint, objective.codes.unsqueeze(0), noise(3))[1]
    assert abs(chance.mean().item() - 0.9) < 0.05


def test_five_updates_follow_each_draw() -> None:
    objective, x, source = chains(7), tensor(TRUTH.sample(3)), noise(1)
    seen = []
    for _ in range(11):
        losses, terms = objective(TRUTH.vae(), x, noise=source, step=0, index=torch.tensor([5, 0, 2]))
        seen.append(objective.codes[[5, 0, 2]].clone())
        close(terms.z[0], seen[-1])
        close(losses["generative"], -(terms.log_px + terms.log_pz)[0])
    moved = [not torch.equal(a, b) for a, b in pairwise(seen)]
    assert moved == [False] * 4 + [True] + [False] * 4 + [True]
    assert objective.visits.tolist() == [11, 0, 11, 0, 0, 11, 0]
    assert (objective.codes[[1, 3, 4, 6]] == 0).all()


def test_chains_are_kept_and_put_back() -> None:
    objective, x = chains(4), tensor(TRUTH.sample(4))
    objective(TRUTH.vae(), x, noise=noise(1), step=0, index=torch.arange(4))
    again = MonteCarloEM(2).double()
    again.load_state_dict(objective.state_dict())
    assert torch.equal(again.codes, objective.codes)
    assert torch.equal(again.visits, objective.visits)
    for one in (objective, again):
        one(TRUTH.vae(), x, noise=noise(5), step=1, index=torch.arange(4))
    assert torch.equal(again.codes, objective.codes)


@pytest.mark.parametrize(("recipe", "most"), [("monte-carlo-em", 0.02), ("wake-sleep", 0.02)])
def test_training_ends_near_the_optimum_of_the_linear_model(recipe: str, most: float) -> None:
    """Exact log p(x) of what was learned, beside that of probabilistic PCA: below it, by at most 0.02 nats."""
    x = TRUTH.sample(400, seed=7)
    best = LinearGaussian.fit(x, 2).log_px(x).mean()
    parts = {"hidden": (), "posterior": "gaussian:scale=constant", "likelihood": "gaussian:scale=shared"}
    model, objective = RECIPES[recipe]((5,), 2, **parts)
    settings = Settings(epochs=700, batch_size=200, lr=0.03)
    optimise(model.double(), objective.double(), rows(x), None, settings)
    decoder, s2 = model.likelihood.network.map, model.decode(torch.zeros(1, 2).double()).variance[0, 0].item()
    found = LinearGaussian(decoder.weight.detach().numpy(), decoder.bias.detach().numpy(), s2)
    gap = best - found.log_px(x).mean()
    assert -1e-9 < gap < most, gap


def test_arguments_out_of_range_are_refused() -> None:
    for wrong in ({"leapfrog": 0}, {"updates": 0}, {"acceptance": 1.0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            MonteCarloEM(2, **wrong)
