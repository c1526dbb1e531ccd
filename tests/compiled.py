"""What a compiled step must be: the eager one to rounding, the same bits after a stop, and never a run lost.

Run as a program by test_compile.py: the checks of shapes that tests put on every call cannot be compiled.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from checks_training import StopsAt
from exact import normal, real_rows
from vaelab import likelihoods, posteriors, priors
from vaelab.errors import EnvironmentFault
from vaelab.models import VAE
from vaelab.networks import MLP
from vaelab.objectives import ELBO
from vaelab.training import History, Rows, Settings, optimise, step

SETTINGS: dict[str, Any] = {"epochs": 3, "batch_size": 4, "lr_warmup": 0, "lr": 0.02}  # 4 batches of 4, one of 3
Prior = Callable[[int], nn.Module]
BAD = 7  # a row whose density overflows


def data() -> Rows:
    x = normal(19, 3, seed=5)
    x[BAD] = 1e200
    return real_rows(x)


def model(train: Rows, prior: Prior = priors.Gaussian) -> VAE:
    """With running statistics, which a graph moves, and must not move twice."""
    torch.manual_seed(1)
    encoder = nn.Sequential(nn.BatchNorm1d(3), MLP(3, posteriors.Gaussian.outputs(2), (5,), "tanh")).double()
    decoder = MLP(2, likelihoods.Gaussian.outputs((3,)), (5,), "tanh").double()
    likelihood = likelihoods.Gaussian(decoder, (3,))
    return VAE(prior=prior(2), posterior=posteriors.Gaussian(encoder, 2), likelihood=likelihood).double()


def trained(
    mode: str, objective: ELBO | None = None, prior: Prior = priors.Gaussian, **others: Any
) -> tuple[VAE, History]:
    rows = data()
    made = model(rows, prior)
    history = optimise(made, objective or ELBO(warmup=9), rows, None, Settings(**SETTINGS, compile=mode), **others)
    return made, history


class Looks(ELBO):
    """Reads a number of a tensor, which no graph can."""

    def bound(self, terms, step):
        return super().bound(terms, step) * (1.0 if terms.log_px.sum().item() < 0 else 0.5)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def furthest(a: nn.Module, b: nn.Module) -> float:
    pairs = [(value, b.state_dict()[name]) for name, value in a.state_dict().items() if value.is_floating_point()]
    return max(float(((x - y).abs() / y.abs().clamp(min=1)).max()) for x, y in pairs)


def a_compiled_step_is_the_eager_one_to_rounding() -> None:
    plain, eager = trained("off")
    straight, history = trained("on")
    assert (eager.compiled, history.compiled, history.notes) == (False, True, [])
    assert 0 < furthest(straight, plain) < 1e-10, f"compiled and eager differ by {furthest(straight, plain)}"
    assert [bad["rows"] for bad in history.bad_steps] == [bad["rows"] for bad in eager.bad_steps]
    assert len(history.bad_steps) == 3
    assert history.first_bad == eager.first_bad

    with tempfile.TemporaryDirectory() as folder:
        for stop in (7, 99):  # inside the second epoch; never
            resumed, _ = trained("on", keeper=StopsAt(Path(folder), stop))
    assert same(resumed, straight), "a run that goes on has other bits"


def a_flow_is_compiled() -> None:
    """Its splines are another library's, loaded when first needed."""
    plain, _ = trained("off", prior=priors.Flow)
    compiled, history = trained("on", prior=priors.Flow)
    assert (history.compiled, history.notes) == (True, [])
    assert 0 < furthest(compiled, plain) < 1e-9, f"compiled and eager differ by {furthest(compiled, plain)}"


def a_weight_changed_on_the_way_counts() -> None:
    """A callback may turn the objective's knobs: what was compiled in is compiled anew."""

    def turned(mode: str) -> VAE:
        objective, rows = ELBO(), data()

        def turn(record: dict[str, Any], history: History) -> None:
            objective.beta = 2.0

        made = model(rows)
        optimise(made, objective, rows, None, Settings(**SETTINGS, compile=mode), turn)
        return made

    eager, compiled = turned("off"), turned("on")
    assert furthest(compiled, eager) < 1e-10
    assert furthest(compiled, trained("off", ELBO())[0]) > 1e-6, "the weight made no difference"


def what_cannot_be_compiled_goes_on_as_it_stands() -> None:
    short = trained("auto")[1]
    assert (short.compiled, short.notes) == (False, []), "a short run is not worth it"
    step.WORTH = 0
    compiler = torch.compile
    for objective, stand_in in ((Looks(), compiler), (ELBO(warmup=9), lambda *_, **__: broken)):
        torch.compile = stand_in
        fallen, history = trained("auto", objective)
        assert not history.compiled
        (note,) = history.notes
        assert note.startswith("not compiled, which costs time only: ")
        assert same(fallen, trained("off", objective)[0]), "not the bits of an eager run"
    with pytest.raises(EnvironmentFault, match=r"cannot be compiled: no C\+\+ compiler. Use --compile off."):
        trained("on")


def broken(*arguments: Any) -> None:
    """What torch.compile returns where there is no compiler."""
    raise RuntimeError("no C++ compiler.")


if __name__ == "__main__":
    a_compiled_step_is_the_eager_one_to_rounding()
    a_flow_is_compiled()
    a_weight_changed_on_the_way_counts()
    what_cannot_be_compiled_goes_on_as_it_stands()
