"""Optimisers and schedules against their formulas."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch

from oracles import F64, rows
from vaelab import recipes
from vaelab.errors import UsageError
from vaelab.objectives import ELBO
from vaelab.options import TrainOptions
from vaelab.training import History, Settings, optimise
from vaelab.training.schedules import DECAYS, learning_rate, spent


def test_stages_are_as_long_and_as_low_as_the_paper_says() -> None:
    """3^i of 3,280 passes at 0.001 * 10^(-i / 7), i = 0, ..., 7."""
    starts = [(3**i - 1) / 2 for i in range(8)]
    for i, start in enumerate(starts):
        for inside in (start + 1e-6, start + 3**i - 1e-6):
            rate = learning_rate(1e-3, inside / 3280, 10**6, warmup=0, decay="staged")
            assert rate == pytest.approx(1e-3 * 10 ** (-i / 7))
    assert learning_rate(1e-3, 1.0, 10**6, warmup=0, decay="staged") == pytest.approx(1e-4)


@pytest.mark.parametrize("decay", DECAYS)
def test_what_is_spent_is_the_integral_of_the_rate(decay: str) -> None:
    at = (np.arange(200_000) + 0.5) / 200_000
    rate = [learning_rate(1.0, p, 10**6, warmup=0, decay=decay) for p in at]
    for end in (0.3, 1.0):
        assert spent(end, decay) == pytest.approx(np.mean(rate[: round(end * 200_000)]) * end, rel=1e-4)


@pytest.mark.parametrize(("optimiser", "epsilon"), [("adagrad", 1e-8), ("adam", 0.3)])
def test_a_step_by_hand(optimiser: str, epsilon: float) -> None:
    """Two steps over all rows at once: g = gradient + decay theta; Adagrad: theta -= rate g / sqrt(sum of g²)."""
    x = np.random.default_rng(0).random((11, 3))
    model = recipes.vae((3,), 2, hidden=(5,), likelihood="gaussian:scale=0.5")[0].double()
    settings = Settings(optimiser=optimiser, epsilon=epsilon, weight_decay=0.1, lr=0.02, lr_warmup=0, decay="none",
                        average=False, epochs=2, batch_size=11, seed=0)  # fmt: skip
    seen: list[list[torch.Tensor]] = [[p.detach().clone() for p in model.parameters()]]
    slopes: list[list[torch.Tensor]] = []

    class Watched(ELBO):
        def forward(self, model, x, **rest):
            losses, terms = super().forward(model, x, **rest)
            grads = torch.autograd.grad(losses["model"].mean(), list(model.parameters()), retain_graph=True)
            slopes.append([g + 0.1 * p.detach() for g, p in zip(grads, model.parameters())])
            return losses, terms

    def report(record, history) -> None:
        seen.append([p.detach().clone() for p in model.parameters()])

    optimise(model, Watched(), rows(x), None, settings, report)
    for place in range(len(seen[0])):
        g, h = slopes[0][place], slopes[1][place]
        if optimiser == "adagrad":
            steps = [g / (g.abs() + 1e-10), h / ((g**2 + h**2).sqrt() + 1e-10)]
        else:
            m, v = 0.1 * h + 0.09 * g, 0.001 * h**2 + 0.000999 * g**2
            steps = [g / (g.abs() + 0.3), m / (1 - 0.9**2) / ((v / (1 - 0.999**2)).sqrt() + 0.3)]
        for before, after, step in zip(seen, seen[1:], steps):
            assert torch.allclose(after[place], before[place] - 0.02 * step, rtol=1e-9, atol=1e-12)
    assert seen[0][0].dtype == F64


@pytest.mark.parametrize("wrong", [{"optimiser": "sgd"}, {"epsilon": 0.0}, {"weight_decay": -1.0}, {"decay": "steps"}])
def test_what_makes_no_sense_is_refused(wrong: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Settings(**wrong)


def test_a_history_without_bounds_is_judged_by_its_elbo() -> None:
    """Checkpoints and metrics.jsonl of before the weighted bound."""
    old = {"records": [{"epoch": 1, "elbo": -9.5}, {"epoch": 2, "loss": 3.0}], "best": 0}
    history = History.of({**asdict(History()), **old})
    assert history.best == {"epoch": 1, "elbo": -9.5, "bound": -9.5}
    assert history.records[1] == {"epoch": 2, "loss": 3.0}


def test_widths_are_given_as_text_numbers_or_one_number() -> None:
    assert [TrainOptions.checked(hidden=asked).hidden for asked in ("40,30", (40, 30), 40)] == ["40,30", "40,30", "40"]
