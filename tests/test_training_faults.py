"""The one loop when something is wrong: losses that are not finite, owners that clash, frozen parameters."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from oracles import F64, LinearGaussian, rows
from test_training import equal, fresh, made, state
from vaelab.errors import TrainingError, UsageError
from vaelab.networks import Linear
from vaelab.objectives import ELBO, BoundObjective
from vaelab.training import Settings, optimise, validation_bound

N, D, Q = 53, 7, 3


# ---- what is not finite


class Spoilt(ELBO):
    """An objective that spoils its loss at some steps."""

    def __init__(self, steps, spoil=lambda loss, model: loss * math.nan) -> None:
        super().__init__()
        self.steps, self.spoil = steps, spoil

    def forward(self, model, x, *, noise, step, observed=None, condition=None):
        losses, terms = super().forward(model, x, noise=noise, step=step, observed=observed)
        if step in self.steps:
            losses["model"] = self.spoil(losses["model"], model)
        return losses, terms


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda loss, model: loss * math.nan, "the objective"),
        (lambda loss, model: loss + math.inf, "the objective"),
        (lambda loss, model: loss + (0 * model.likelihood.log_scale).sqrt(), "the gradient of likelihood.log_scale"),
    ],
)
def test_a_bad_step_is_skipped_counted_and_named(spoil, name: str) -> None:
    model, before = fresh(), []

    class Watched(Spoilt):
        def forward(self, model, x, *, step, **how):
            before.append(state(model))
            return super().forward(model, x, step=step, **how)

    history = optimise(model, Watched({2, 5, 6}, spoil), made(), None, Settings(epochs=3, batch_size=17))
    assert history.skipped == 3
    assert history.first_bad.startswith(f"step 3: {name}, rows ")
    assert [(b["step"], b["fault"], b["what"]) for b in history.bad_steps] == [
        (step, "not finite", name) for step in (3, 6, 7)
    ]
    moved = [not equal(a, b) for a, b in itertools.pairwise(before)]
    assert [i for i, m in enumerate(moved) if not m] == [2, 5, 6]
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_a_spoilt_row_is_named_by_the_first_term_it_reaches() -> None:
    x = LinearGaussian.random(D, Q).sample(N)
    bad = rows(x)
    bad.data[11, 3] = math.nan
    model = fresh()
    history = optimise(model, ELBO(), bad, None, Settings(epochs=6, batch_size=17))
    assert history.skipped == 6  # one batch of each epoch
    assert history.first_bad.endswith("the mean of q(z | x), latent 0, row 12")
    assert {tuple(bad["rows"]) for bad in history.bad_steps} == {(12,)}
    assert history.halvings == 0
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda m: m.posterior.network.layers[-1].bias, "the mean of q(z | x)"),
        (lambda m: m.likelihood.network.layers[-1].bias, "log p(x | z)"),
    ],
)
def test_a_model_that_is_not_finite_gives_up(spoil, name: str) -> None:
    model, valid = fresh(), made(29, 2)
    with torch.no_grad():
        spoil(model)[0] = math.inf
    history = []
    with pytest.raises(TrainingError, match=r"not finite, first at step 1: ") as error:
        optimise(model, ELBO(), made(), valid, Settings(epochs=100, batch_size=17), lambda r, h: history.append(h))
    assert name in str(error.value)
    assert error.value.history.skipped == 20  # five in a row, four times
    assert error.value.history.halvings == 3


def test_the_best_weights_survive_giving_up() -> None:
    model, valid, seen = fresh(), made(29, 2), []
    objective = Spoilt(range(40, 10**6))
    with pytest.raises(TrainingError, match="first at step 41: the objective"):
        optimise(
            model, objective, made(), valid, Settings(epochs=100, batch_size=17), lambda r, h: seen.append(r["elbo"])
        )
    assert validation_bound(model, valid)[0] == max(seen)
    assert not model.training


def test_bad_steps_that_are_not_in_a_row_do_not_give_up() -> None:
    history = optimise(fresh(), Spoilt(set(range(0, 200, 2))), made(), None, Settings(epochs=50, batch_size=17))
    assert history.skipped == 100


# ---- owners


class Two(BoundObjective):
    """A model and a critic of its own, each minimising its own loss."""

    def __init__(self, shared: bool = False) -> None:
        super().__init__()
        self.critic, self.shared = nn.Parameter(torch.tensor(5.0, dtype=F64)), shared

    def bound(self, terms, step):
        return terms.mean(terms.log_w)

    def owners(self, model):
        own = [*super().owners(model)["model"], *([self.critic] if self.shared else [])]
        return {"model": own, "critic": [self.critic]}

    def forward(self, model, x, **how):
        losses, terms = super().forward(model, x, **how)
        return {
            "model": losses["model"] + 1000 * self.critic,
            "critic": (self.critic - 2).square().expand(len(x)),
        }, terms


def test_each_owner_minimises_its_own_loss() -> None:
    model, objective = fresh(), Two()
    before = state(model)
    optimise(model, objective, made(), None, Settings(epochs=200, batch_size=53, lr=0.3))
    assert objective.critic.item() == pytest.approx(2, abs=0.02)  # the model's loss does not pull at it
    assert not equal(state(model), before)


def test_owners_that_share_a_parameter_are_refused() -> None:
    with pytest.raises(UsageError, match="'model' and 'critic' share a parameter"):
        optimise(fresh(), Two(shared=True), made(), None, Settings(epochs=1))
    with pytest.raises(UsageError, match="Linear is no model"):
        optimise(Linear(2, 2), ELBO(), made(), None, Settings(epochs=1))


def test_frozen_parameters_stay() -> None:
    model = fresh()
    for parameter in model.posterior.parameters():
        parameter.requires_grad_(False)
    before = state(model)
    optimise(model, ELBO(), made(), None, Settings(epochs=2, batch_size=17))
    after = state(model)
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {n for n in before if n.startswith("posterior")} <= same
    assert not any(n.startswith("likelihood") for n in same)
