"""Exact checks of training that goes wrong, or is stopped and goes on."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from checks_figures import small
from exact import check, normal, real_rows
from vaelab.networks import Linear
from vaelab.objectives import ELBO
from vaelab.training import Rows, Settings, optimise
from vaelab.training.checkpoint import load_checkpoint, save_checkpoint
from vaelab.training.rows import batch_sizes
from vaelab.training.trouble import Watch

SETTINGS = Settings(epochs=3, batch_size=4, lr_warmup=0, lr=0.02)  # 13 rows: batches of 4, 4 and 5


class StopsAt:
    """Keeps the state at one step, and ends the run there."""

    def __init__(self, folder: Path, step: int) -> None:
        self.folder, self.step = folder, step

    def restore(self):
        return load_checkpoint(self.folder)[0]

    def after_step(self, capture) -> None:
        tree = capture()
        if tree["state"]["step"] == self.step:
            assert save_checkpoint(self.folder, tree)
            raise KeyboardInterrupt


class Spoils(ELBO):
    """Makes the loss of some steps NaN, and notes the state before each."""

    def __init__(self, steps: set[int]) -> None:
        super().__init__()
        self.steps, self.seen = steps, []

    def forward(self, model, x, *, noise, step, observed=None, condition=None):
        self.seen.append({name: value.clone() for name, value in model.state_dict().items()})
        losses, terms = super().forward(model, x, noise=noise, step=step, observed=observed)
        return {"model": losses["model"] * (math.nan if step in self.steps else 1)}, terms


def normalising() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.BatchNorm1d(3), Linear(3, 4))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@check
def a_run_that_goes_on_has_the_same_bits() -> None:
    """Stopped inside an epoch and at the end of one; the straight run is the truth."""
    train: Rows = real_rows(normal(13, 3, seed=5))
    straight = small(train)
    optimise(straight, ELBO(), train, None, SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        for stop in (2, 6, 99):
            model = small(train)
            optimise(model, ELBO(), train, None, SETTINGS, keeper=StopsAt(Path(folder), stop))
    for name, value in straight.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), f"{name} differs after two stops"


@check
def a_bad_step_is_undone() -> None:
    """Weights and running statistics move at every step but the bad ones."""
    train = real_rows(normal(13, 3, seed=5))
    objective = Spoils({2, 5, 6})
    model = small(train, normalising())
    history = optimise(model, objective, train, None, SETTINGS)
    still = [step for step, (a, b) in enumerate(zip(objective.seen, objective.seen[1:])) if same(a, b)]
    assert still == [2, 5, 6], f"the state stood still at {still}"
    assert [bad["step"] for bad in history.bad_steps] == [3, 6, 7]
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


@check
def bad_steps_in_a_row_go_back_to_the_last_good_state_at_half_the_rate() -> None:
    train = real_rows(normal(13, 3, seed=5))
    objective = Spoils(set(range(4, 9)))
    history = optimise(small(train), objective, train, None, replace(SETTINGS, epochs=4))
    assert history.halvings == 1
    assert same(objective.seen[9], objective.seen[3]), "not the state at the end of the first epoch"


@check
def a_run_ends_with_the_mean_of_its_weights() -> None:
    """sum_i theta_i (t_i^16 - t_(i-1)^16) / T^16, the t_i every tenth step and each end of an epoch of three steps."""
    train = real_rows(normal(13, 3, seed=5))
    for epochs in (1, 2, 15):
        settings, ends, seen = replace(SETTINGS, epochs=epochs), [], []
        for average in (True, False):
            model, objective = small(train, normalising()), Spoils(set())
            optimise(model, objective, train, None, replace(settings, average=average))
            ends.append(model.state_dict())
            seen.append(objective.seen)
        assert all(map(same, *seen)), "the mean changed what was trained"
        mean, last = ends
        path, steps = [*seen[0], last], 3 * epochs
        times = [0, *(t for t in range(1, steps + 1) if t % 10 == 0 or t % 3 == 0)]
        share = [(b / steps) ** 16 - (a / steps) ** 16 for a, b in pairwise(times)]
        for name, value in mean.items():
            if value.is_floating_point():
                expected = sum(w * path[t][name] for w, t in zip(share, times[1:]))
                assert torch.allclose(value, torch.as_tensor(expected), rtol=1e-12, atol=1e-14), name
            else:
                assert torch.equal(value, last[name]), name


@check
def divergence_is_a_distance_whatever_the_sign_of_the_loss() -> None:
    for shift in (-1500.0, -3.0, 0.0, 540.0):
        watch = Watch()
        for step in range(40):
            assert watch.fault(shift + math.sin(step), 1.0) is None
        watch.epoch_done()
        scale = 1000 * max(abs(shift), 1.5)
        assert watch.fault(shift + 0.5 * scale, 1.0) is None
        assert watch.fault(shift + 2 * scale, 1.0) == "diverging"
        assert watch.fault(shift - 2 * scale, 1.0) is None, "a fall"
        assert watch.fault(shift, math.inf) == watch.fault(math.nan, 1.0) == "not finite"


@check
def every_row_of_an_epoch_counts_once() -> None:
    for rows in range(1, 40):
        for size in range(1, 45):
            sizes = batch_sizes(rows, size)
            assert sum(sizes) == rows, (rows, size, sizes)
            assert max(sizes) <= size + 1
            assert size == 1 or rows == 1 or min(sizes) > 1, (rows, size, sizes)
