"""The one loop: what it selects, counts, refuses and reaches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from oracles import F64, LinearGaussian, close, noise, rows, schema, spectrum, tensor
from vaelab import likelihoods, posteriors, priors, recipes
from vaelab.data import Dataset
from vaelab.errors import UsageError
from vaelab.models import VAE
from vaelab.networks import MLP, Linear
from vaelab.noise import Noise, stream
from vaelab.objectives import ELBO, IWAE, BoundObjective, Reconstruction
from vaelab.training import Rows, Settings, optimise, time_per_step, validation_bound
from vaelab.training.schedules import learning_rate

N, D, Q = 53, 7, 3


def made(n: int = N, seed: int = 1, **arguments) -> Rows:
    return rows(LinearGaussian.random(D, Q).sample(n, seed), **arguments)


def fresh(seed: int = 0, posterior=posteriors.Gaussian, **likelihood) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, decoder = MLP(D, posterior.outputs(Q), (11,), "tanh"), MLP(Q, D, (11,), "tanh")
    part = likelihoods.Gaussian(decoder, (D,), **likelihood)
    return VAE(prior=priors.Gaussian(Q), posterior=posterior(encoder, Q), likelihood=part).double()


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


# ---- selection


@pytest.mark.parametrize(
    "objective",
    [ELBO(beta=0.0), ELBO(beta=20.0), ELBO(warmup=10_000), ELBO(free_bits=3.0), IWAE(5)],
    ids=["beta 0", "beta 20", "warm-up", "free bits", "iwae"],
)
def test_the_best_bound_at_beta_one_is_kept(objective: BoundObjective) -> None:
    model, train, valid, seen = fresh(), made(), made(29, seed=2), []
    weighed = objective.samples if objective.weighs else 0

    def report(record, history) -> None:
        seen.append((record["bound"], state(model), validation_bound(model.eval(), valid, weighed=weighed)))
        model.train()

    history = optimise(model, objective, train, valid, Settings(epochs=40, batch_size=17, lr=0.05, lr_warmup=0), report)
    bounds = [bound for bound, _, _ in seen]
    best = int(np.argmax(bounds))
    assert history.best is history.records[best]
    assert equal(state(model), seen[best][1])
    assert validation_bound(model, valid, weighed=weighed).bound == bounds[best] == seen[best][2].bound
    assert history.best["elbo"] == pytest.approx(history.best["reconstruction"] - history.best["kl"], rel=1e-12)
    losses = [r["loss"] for r in history.records]
    if (
        objective.__class__ is ELBO and objective.beta == 0
    ):  # the trap: the loss goes on falling while the bound falls too
        assert best < len(bounds) - 1
        assert losses[-1] < losses[best]


def test_training_stops_without_a_better_bound() -> None:
    history = optimise(
        fresh(), ELBO(beta=0.0), made(), made(29, 2), Settings(epochs=300, batch_size=17, lr=0.05, patience=3)
    )
    assert history.stopped == "no better validation bound in 3 reports"
    assert len(history.records) < 300
    assert history.records[-4] is history.best


def test_without_validation_the_last_weights_stay() -> None:
    model, last = fresh(), []
    history = optimise(
        model, ELBO(), made(), None, Settings(epochs=5, batch_size=17), lambda r, h: last.append(state(model))
    )
    assert equal(state(model), last[-1])
    assert history.stopped == "finished"
    assert "elbo" not in history.best
    assert not model.training
    assert all(p.grad is None for p in model.parameters())


# ---- counting


def test_every_row_counts_once() -> None:
    some, seen = made(), []
    for batch in some.shuffled(17, stream(0, "order"), noise()):
        seen.append(batch.x)
    assert [len(x) for x in seen] == [17, 17, 17, 2]
    joined = torch.cat(seen)
    order = torch.cdist(joined, some.data).argmin(1)
    assert sorted(order.tolist()) == list(range(N))
    assert order.tolist() != list(range(N))
    ordered = torch.cat([batch.x for batch in some.in_order(17)])
    assert torch.equal(ordered, some.data)


def test_the_reported_loss_is_the_mean_over_rows() -> None:
    """Deterministic losses, a step too small to move a weight, a last batch of two rows that are far off."""
    model, x = fresh(posterior=posteriors.Point), LinearGaussian.random(D, Q).sample(N)
    x[::7] *= 30
    exact = -model.terms(tensor(x), noise=noise()).log_px.mean().item()
    history = optimise(model, Reconstruction(), rows(x), None, Settings(epochs=3, batch_size=17, lr=1e-30))
    for record in history.records:
        assert record["loss"] == pytest.approx(exact, rel=1e-12)
    assert [r["step"] for r in history.records] == [4, 8, 12]


class Recording(ELBO):
    """Keeps what it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = []

    def forward(self, model, x, *, noise, step, observed=None, condition=None):
        self.calls.append((step, x, observed, condition))
        return super().forward(model, x, noise=noise, step=step, observed=observed)


def test_masks_and_conditions_travel_with_their_rows() -> None:
    x = LinearGaussian.random(D, Q).sample(N)
    observed, condition = x > -0.5, x[:, :2] * 3
    objective = Recording()
    some = rows(np.where(observed, x, np.nan), observed=observed, condition=condition)
    optimise(fresh(), objective, some, None, Settings(epochs=2, batch_size=17))
    assert [call[0] for call in objective.calls] == list(range(8))
    for _, batch, mask, given in objective.calls:
        place = torch.cdist(given, tensor(condition)).argmin(1)
        assert torch.equal(mask, torch.tensor(observed)[place])
        assert torch.equal(given, tensor(condition)[place])
        close(batch, np.where(observed, x, 0)[place])


def test_grey_values_are_drawn_afresh_at_every_use() -> None:
    data = Dataset(
        torch.randint(17, (N, D)).to(torch.uint8), schema((D,), values="binary", low=0, high=16, binarize="stochastic")
    )
    some, source = Rows(data, dtype=F64), noise()
    draws = torch.stack([some.at(slice(None), source).x for _ in range(2003)])
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    p = data.x.double() / 16
    sure = (p == 0) | (p == 1)
    assert (draws[:, sure] == p[sure]).all()
    z = (draws.mean(0) - p)[~sure] / (p * (1 - p) / 2003).sqrt()[~sure]
    assert z.abs().max() < 5


# ---- repeatability


def test_the_seed_decides_every_bit() -> None:
    def trained(seed: int) -> dict[str, Tensor]:
        model = fresh()
        optimise(model, ELBO(samples=2), made(), made(29, 2), Settings(epochs=4, batch_size=17, seed=seed))
        return state(model)

    first = trained(3)
    torch.randn(5)  # the global generator does not matter
    assert equal(first, trained(3))
    assert not equal(first, trained(4))


def test_timing_a_step_leaves_the_model() -> None:
    model = fresh()
    before = state(model)
    assert time_per_step(model, ELBO(), made(), Settings(batch_size=17), steps=3) > 0
    assert equal(state(model), before)
    assert all(p.grad is None for p in model.parameters())


# ---- the clock and the keyboard


@pytest.mark.parametrize("where", ["report", "step"])
def test_an_interrupt_ends_the_run_with_the_best_weights(where: str) -> None:
    model, valid, seen = fresh(), made(29, 2), []

    class Stop(ELBO):
        def bound(self, terms, step):
            if where == "step" and step == 30:
                raise KeyboardInterrupt
            return super().bound(terms, step)

    def report(record, history) -> None:
        seen.append(record["elbo"])
        if where == "report" and len(seen) == 7:
            raise KeyboardInterrupt

    settings = Settings(epochs=100, batch_size=17, lr=0.05)
    history = optimise(model, Stop(), made(), valid, settings, report)
    assert history.stopped == "interrupted"
    assert len(history.records) == 7
    assert validation_bound(model, valid)[0] == max(seen)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert history.seconds > 0


def test_the_clock_ends_the_run() -> None:
    history = optimise(fresh(), ELBO(), made(), None, Settings(minutes=0.3 / 60, batch_size=17))
    assert 0.25 < history.seconds < 30  # a busy machine is slow to notice
    assert history.stopped == "finished"
    assert history.records


def test_the_schedule_of_the_rate() -> None:
    def rate(progress: float, step: int, warmup: int = 10, decay: str = "cosine") -> float:
        return learning_rate(0.4, progress, step, warmup=warmup, decay=decay)

    assert rate(0.0, 0) == pytest.approx(0.04)
    assert rate(0.0, 9) == rate(0.0, 10) == pytest.approx(0.4)
    assert rate(0.5, 100) == pytest.approx(0.2)
    assert rate(1.0, 100) == pytest.approx(0, abs=1e-15)
    assert rate(1.7, 100) == pytest.approx(0, abs=1e-15)
    assert rate(0.25, 4) == pytest.approx(0.4 * 0.5 * 0.5 * (1 + math.sqrt(0.5)))
    assert rate(0.9, 100, decay="none") == 0.4
    assert rate(0.0, 0, warmup=0) == 0.4


def test_the_rate_is_the_one_that_moves_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam's first step has length lr in every coordinate; the schedule is asked once per step, in order."""
    asked = []

    def schedule(peak, progress, step, *, warmup, decay) -> float:
        asked.append((peak, progress, step, warmup, decay))
        return 0.125

    monkeypatch.setattr("vaelab.training.stepper.learning_rate", schedule)
    model = fresh()
    before = model.likelihood.log_scale.item()
    optimise(model, ELBO(), made(), None, Settings(epochs=1, batch_size=53, lr=0.7, lr_warmup=9, decay="none"))
    assert asked == [(0.7, 0.0, 0, 9, "none")]
    assert abs(model.likelihood.log_scale.item() - before) == pytest.approx(0.125, rel=1e-5)
    asked.clear()
    optimise(model, ELBO(), made(), None, Settings(epochs=3, batch_size=17))
    assert [(a[1], a[2]) for a in asked] == [(i / 12, i) for i in range(12)]


def test_clipping_bounds_the_length_of_a_step_and_keeps_its_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[float | None, list[Tensor]] = {None: [], 0.01: []}
    for clip, gradients in seen.items():
        model = fresh()

        def keep(optimiser, model=model, gradients=gradients) -> None:
            gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))

        monkeypatch.setattr("vaelab.training.adam.Adam.step", keep)
        optimise(model, ELBO(), made(), None, Settings(epochs=1, batch_size=17, clip=clip))
    for plain, clipped in zip(*seen.values()):
        assert plain.norm() > 1
        assert clipped.norm().item() == pytest.approx(0.01, rel=1e-3)
        close(clipped / clipped.norm(), plain / plain.norm(), rel=1e-9)
    model, order = fresh(), torch.randperm(N, generator=stream(0, "order"))[:17]
    losses, _ = ELBO()(model, made().data[order], noise=Noise(stream(0, "noise")), step=0)
    direct = torch.autograd.grad(losses["model"].mean(), list(model.parameters()))  # the mean over rows, not the sum
    close(seen[None][0], torch.cat([g.flatten() for g in direct]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0}, {"minutes": 0.0}, {"batch_size": 0}, {"lr": 0.0}, {"lr": math.inf}, {"lr": math.nan},
        {"lr_warmup": -1}, {"decay": "linear"}, {"clip": 0.0}, {"patience": 0}, {"seed": -1},
        {"epochs": 1, "minutes": 1.0},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused_by_name(wrong: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Settings(**wrong)


# ---- what it reaches


@pytest.mark.parametrize("gradient", ["pathwise", "stopped"])
def test_the_linear_model_reaches_probabilistic_pca(gradient: str) -> None:
    """1,599 rows of 11 columns, 3 latents: the exact maximum, its noise and its subspace."""
    x = LinearGaussian.random(11, 3, seed=7, s2=0.5, orthogonal=False).sample(1599, seed=7)
    optimum = LinearGaussian.fit(x, 3)
    best = optimum.log_px(x).mean()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = VAE(
            prior=priors.Gaussian(3),
            posterior=posteriors.FullGaussian(Linear(11, 3), 3, scale="constant"),
            likelihood=likelihoods.Gaussian(Linear(3, 11), (11,), scale="shared"),
        ).double()
    some = rows(x)
    objective = ELBO(samples=4, gradient=gradient)
    optimise(model, objective, some, None, Settings(epochs=120, batch_size=123, lr=0.03))
    assert abs(validation_bound(model, some, draws=16_000)[0] - best) < 1e-3
    W = model.likelihood.network.map.weight.detach().numpy()
    reached = LinearGaussian(
        W,
        model.likelihood.network.map.bias.detach().numpy(),
        model.likelihood(torch.zeros(1, 3, dtype=F64)).variance[0, 0].item(),
    )
    assert 0 <= best - reached.log_px(x).mean() < 1e-3
    assert reached.s2 == pytest.approx(optimum.s2, rel=0.005)
    a, b = np.linalg.qr(W)[0], spectrum(x)[1][:, :3]
    angle = math.degrees(math.acos(min(1.0, np.linalg.svd(a.T @ b)[1].min())))
    assert angle < 0.3


def test_the_optimal_variance_is_learned_in_the_loop() -> None:
    x = LinearGaussian.random(11, 3, seed=7, s2=0.5).sample(1599, seed=7)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = VAE(
            prior=priors.Gaussian(3),
            posterior=posteriors.Gaussian(Linear(11, 3), 3, scale="constant"),
            likelihood=likelihoods.Gaussian(Linear(3, 11), (11,), scale="optimal"),
        ).double()
    optimise(model, ELBO(), rows(x), None, Settings(epochs=60, batch_size=123, lr=0.03))
    assert model.likelihood.variance.item() == pytest.approx(LinearGaussian.fit(x, 3).s2, rel=0.03)


def test_a_device_without_float64_can_train(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Apple's GPUs: a 32-bit model makes no 64-bit number but in `wide`, which goes to the CPU for it."""

    class Narrow(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            made = [t for t in tree_leaves(out) if isinstance(t, Tensor) and t.dtype == torch.float64]
            assert not made, f"{function} made a float64 tensor"
            return out

    for module in ("step", "validate"):
        monkeypatch.setattr(f"vaelab.training.{module}.wide", lambda value: value)
    model = recipes.vae((5,), 2, hidden=(7,), likelihood="gaussian")[0]
    some = rows(torch.randn(23, 5), dtype=torch.float32)
    with Narrow():
        history = optimise(model, ELBO(), some, some, Settings(epochs=2, batch_size=10))
    assert len(history.records) == 2
