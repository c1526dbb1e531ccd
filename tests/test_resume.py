"""A run that was stopped and goes on ends with the bits of one that was not."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from oracles import F64, rows, schema
from test_training import Q, equal, fresh, made, state
from test_training_faults import Spoilt, Two
from vaelab import files, likelihoods, posteriors, priors, recipes
from vaelab.data import Dataset
from vaelab.errors import EnvironmentFault
from vaelab.models import VAE
from vaelab.networks import MLP
from vaelab.objectives import ELBO, IWAE, Factor, Score, TotalCorrelation, WakeSleep
from vaelab.parts import registry
from vaelab.training import Augment, Rows, Settings, optimise
from vaelab.training.checkpoint import FILE, PREVIOUS, leftovers, load_checkpoint, save_checkpoint


class StopsAt:
    """Keeps the state in a folder at one step, and ends the run there."""

    def __init__(self, folder: Path, step: int | None) -> None:
        self.folder, self.step = folder, step

    def restore(self):
        return load_checkpoint(self.folder)[0]

    def after_step(self, capture) -> None:
        tree = capture()
        if tree["state"]["step"] == self.step:
            assert save_checkpoint(self.folder, tree)
            raise KeyboardInterrupt


class Normalised(nn.Module):
    """A network with running statistics, which a forward pass moves."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(7, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Linear(9, 2 * Q))

    def forward(self, x):
        return self.layers(x)


def with_batch_norm(seed: int = 0) -> VAE:
    model = fresh(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.posterior.network = Normalised().double()
    return model


def of_pixels() -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder, decoder = MLP(7, posteriors.Gaussian.outputs(Q), (11,), "tanh"), MLP(Q, 7, (11,), "tanh")
    parts = posteriors.Gaussian(encoder, Q), likelihoods.Bernoulli(decoder, (7,))
    return VAE(prior=priors.Gaussian(Q), posterior=parts[0], likelihood=parts[1]).double()


def pixels(n: int, seed: int) -> Rows:
    grey = torch.randint(17, (n, 7), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    kind = schema((7,), values="binary", low=0, high=16, binarize="stochastic")
    return Rows(Dataset(grey, kind), dtype=F64)


def images(n: int, seed: int) -> Rows:
    """Small images that are moved at each use."""
    x = torch.randint(17, (n, 4, 3), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    made = Rows(Dataset(x, schema((4, 3), layout="image", values="integer", low=0, high=16)), dtype=F64)
    made.move = Augment(flip=True, crop=1)
    return made


def of_images() -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return recipes.vae((1, 4, 3), Q, hidden=(11,))[0].double()


def with_vamp() -> VAE:
    plain = fresh()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = priors.Vamp(plain.posterior, (7,), components=6, learned=True)
    return VAE(prior=prior, posterior=plain.posterior, likelihood=plain.likelihood).double()


def short_of_memory(at: int) -> Callable[[], ELBO]:
    """An objective that runs out of memory once."""

    class Short(ELBO):
        def forward(self, model, x, *, step, **how):
            if step == at and len(x) == 17:
                raise MemoryError
            return super().forward(model, x, step=step, **how)

    return Short


def critic() -> Factor:
    torch.manual_seed(3)
    return Factor(Q, width=5).double()


def grown(loss, model):
    return loss + 1e9


HERE, VALID = made(), made(29, 2)
CASES = {
    "plain": (fresh, ELBO, {}, (5, 8, 32)),  # inside an epoch of four steps, at its end, after the last step of all
    "no validation": (fresh, ELBO, {}, (6, 32)),
    "KL warm-up": (fresh, lambda: ELBO(warmup=30), {}, (13,)),
    "rate rises": (fresh, ELBO, {"lr_warmup": 20, "decay": "none"}, (11,)),
    "early stopping": (fresh, lambda: ELBO(beta=0.0), {"epochs": 300, "patience": 3, "lr": 0.05}, (9, 27)),
    "iwae": (fresh, lambda: IWAE(5), {}, (7,)),
    "sticking the landing": (fresh, lambda: ELBO(samples=3, gradient="stopped"), {}, (10,)),
    "free bits": (lambda: fresh(0, posteriors.FullGaussian), lambda: ELBO(free_bits=1.0), {}, (14,)),
    "optimal scale": (lambda: fresh(0, scale="optimal"), ELBO, {}, (3,)),
    "clip": (fresh, ELBO, {"clip": 0.5}, (15,)),
    "two owners": (fresh, Two, {"lr": 0.1}, (9,)),
    "a critic": (fresh, critic, {}, (9,)),
    "the number of rows": (fresh, TotalCorrelation, {}, (5,)),
    "batch norm": (with_batch_norm, ELBO, {"batch_size": 13}, (6,)),
    "a batch of all rows": (fresh, ELBO, {"batch_size": 100}, (4,)),
    "bad steps": (fresh, lambda: Spoilt({2, 5, 6}), {}, (6, 7)),
    "gone back to the last good state": (fresh, lambda: Spoilt(range(9, 20)), {}, (11, 16, 22)),
    "diverging": (fresh, lambda: Spoilt(range(21, 27), grown), {"epochs": 9}, (23, 30)),
    "batch halved": (fresh, short_of_memory(9), {}, (8, 12)),
    "binarised afresh": (of_pixels, ELBO, {}, (5, 13)),
    "augmented": (of_images, ELBO, {}, (6, 9)),
    "vamp": (with_vamp, ELBO, {}, (3, 8)),
    "wake-sleep": (fresh, WakeSleep, {}, (7,)),
    "score gradients": (fresh, lambda: Score(3), {}, (5,)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_goes_on_has_the_bits_of_one_that_was_not_stopped(case: str, tmp_path: Path) -> None:
    make, objective, how, stops = CASES[case]
    kinds = {"binarised afresh": pixels, "augmented": images}
    train, valid = (kinds[case](53, 1), kinds[case](29, 2)) if case in kinds else (HERE, VALID)
    settings = Settings(**{"epochs": 8, "batch_size": 17, **how})
    held_out = None if case == "no validation" else valid

    def run(keeper=None):
        model, goal = make(), objective()
        history = optimise(model, goal, train, held_out, settings, keeper=keeper)
        return state(model) | {f"objective {k}": v for k, v in state(goal).items()}, history

    expected, straight = run()
    for stop in stops:
        _, part = run(StopsAt(tmp_path, stop))
        assert part.stopped == "interrupted", "the case must be stopped where it says"
    got, history = run(StopsAt(tmp_path, None))
    assert equal(expected, got)

    def timeless(records):
        return [{k: v for k, v in record.items() if k != "seconds"} for record in records]

    assert timeless(history.records) == timeless(straight.records)
    for name in ("skipped", "first_bad", "bad_steps", "halvings", "notes", "stopped"):
        assert getattr(history, name) == getattr(straight, name), name
    assert history.records.index(history.best) == straight.records.index(straight.best)
    seconds = [record["seconds"] for record in history.records]
    assert seconds == sorted(seconds), "the time of earlier sittings counts"
    if case == "gone back to the last good state":
        assert history.halvings == 2
    if case in ("diverging", "batch halved"):
        assert history.bad_steps or history.notes


def test_a_run_by_the_clock_goes_on_with_the_time_that_is_left(tmp_path: Path) -> None:
    settings = Settings(minutes=0.4 / 60, batch_size=17)
    first = optimise(fresh(), ELBO(), HERE, None, settings, keeper=StopsAt(tmp_path, 5))
    second = optimise(fresh(), ELBO(), HERE, None, settings, keeper=StopsAt(tmp_path, None))
    assert first.stopped == "interrupted"
    assert 0.4 <= second.seconds < 30
    assert second.records[-1]["step"] > 5


# ---- the file


def tree(step: int, value: float) -> dict:
    now = {"model": {"w": torch.full((300,), value)}, "objective": {}, "optimisers": {}}
    return {"now": now, "state": {"step": step, "batch_size": 1, "total_steps": 9, "watch": {}, "history": HISTORY}}


HISTORY = {"best": None}
OPERATIONS = {name: vars(os)[name] for name in ("open", "fsync", "replace", "unlink", "chmod", "close")}


def test_every_kind_of_value_comes_back(tmp_path: Path) -> None:
    kinds = (torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.int16, torch.uint8, torch.bool)
    made = tree(3, 1.0)
    made["state"]["history"] = {"best": None, "records": [{"loss": float("nan"), "elbo": float("-inf"), "x": 0.1}]}
    made["extra"] = {str(kind): torch.arange(5).to(kind) for kind in kinds} | {"scalar": torch.tensor(7.5)}
    made["extra"] |= {"strided": torch.arange(12).view(3, 4).t(), "none": None, "empty": torch.zeros(0, 3), "of": "of"}
    assert save_checkpoint(tmp_path, made)
    back, notes = load_checkpoint(tmp_path)
    assert notes == []
    for name, value in made["extra"].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(back["extra"][name], value), name
            assert back["extra"][name].dtype == value.dtype
        else:
            assert back["extra"][name] == value
    record = back["state"]["history"]["records"][0]
    assert record["loss"] != record["loss"]
    assert (record["elbo"], record["x"]) == (float("-inf"), 0.1)


def test_no_checkpoint_holds_numbers_that_are_not_finite(tmp_path: Path) -> None:
    assert save_checkpoint(tmp_path, tree(1, 1.0))
    assert not save_checkpoint(tmp_path, tree(2, float("nan")))
    assert load_checkpoint(tmp_path)[0]["state"]["step"] == 1


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_crash_after_any_file_operation_leaves_the_old_state_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records the folder after each operation of the third save, and adds what was not yet on the disk."""
    live = tmp_path / "live"
    live.mkdir()
    for step in (1, 2):
        save_checkpoint(live, tree(step, float(step)))
    clones, calls = [contents(live)], []
    for name in OPERATIONS:

        def recorded(*arguments, name=name, real=OPERATIONS[name], **how):
            result = real(*arguments, **how)
            calls.append(name)
            clones.append(contents(live))
            return result

        monkeypatch.setattr(os, name, recorded)
    save_checkpoint(live, tree(3, 3.0))
    monkeypatch.undo()
    assert [c for c in calls if c in ("fsync", "replace")] == ["fsync", "replace", "replace", "fsync"]
    before, after = clones[0], contents(live)
    # a temporary file that is not synced may be there in part; of two renames the second may be on the disk alone
    torn = [
        {n: data[: len(data) // k] if n.endswith(".tmp") else data for n, data in clone.items()}
        for clone, k in itertools.product(clones, (2, 10**9))
    ]
    alone = {PREVIOUS: before[PREVIOUS], FILE: after[FILE]}
    found = []
    for number, clone in enumerate([*clones, *torn, alone]):
        crashed = tmp_path / str(number)
        crashed.mkdir()
        for name, data in clone.items():
            (crashed / name).write_bytes(data)
        got, _ = load_checkpoint(crashed)
        assert got["state"]["step"] in (2, 3)
        assert (got["now"]["model"]["w"] == got["state"]["step"]).all(), "a mixed state"
        found.append(got["state"]["step"])
        save_checkpoint(crashed, tree(4, 4.0))
        assert load_checkpoint(crashed)[0]["state"]["step"] == 4
        assert leftovers(crashed) == []
    assert {2, 3} == set(found)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:99] + b"X" + b[100:], lambda b: b"?"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(damage, tmp_path: Path) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, tree(step, float(step)))
    (tmp_path / FILE).write_bytes(damage((tmp_path / FILE).read_bytes()))
    got, notes = load_checkpoint(tmp_path)
    assert got["state"]["step"] == 1
    assert "cannot be used" in notes[0]
    assert notes[1] == "going on from the checkpoint before it, of step 1."
    (tmp_path / PREVIOUS).write_bytes(damage((tmp_path / PREVIOUS).read_bytes()))
    got, notes = load_checkpoint(tmp_path)
    assert got is None
    assert notes[-1] == "no checkpoint is whole: training starts over."


def test_a_model_file_is_no_checkpoint(tmp_path: Path) -> None:
    files.save(tmp_path / FILE, {"model": fresh()}, {}, registry=registry())
    got, notes = load_checkpoint(tmp_path)
    assert got is None
    assert "this is no checkpoint" in notes[0]
    assert load_checkpoint(tmp_path / "nowhere") == (None, [])


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_full_disk_is_said_and_keeps_what_was_there(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, tree(step, float(step)))
    before = contents(tmp_path)

    def full(*arguments, **how):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(EnvironmentFault, match=r"disk full while saving step 3 in .* \(need 0.0 MB, .* MB free\)"):
            save_checkpoint(tmp_path, tree(3, 3.0))
    assert contents(tmp_path) == before


def test_a_disk_that_is_full_at_any_operation_leaves_the_old_state_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write, sync and rename of a save fails in its turn; a write when half of it is done."""

    class Full:
        """A file that runs out of room."""

        def __init__(self, file, left: list[int]) -> None:
            self.file, self.left = file, left

        def __getattr__(self, name: str):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            try:
                count(self.left)
            except OSError:
                self.file.write(data[: len(data) // 2])
                raise
            self.file.write(data)

    def count(left: list[int]) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")

    real = {name: vars(os)[name] for name in ("fsync", "replace")}
    found = []
    for number in range(20):
        folder, left = tmp_path / str(number), [number]
        folder.mkdir()
        for step in (1, 2):
            save_checkpoint(folder, tree(step, float(step)))
        failed = False
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, lambda *a, name=name, left=left: (count(left), real[name](*a))[1])
            opened = lambda *a, left=left, **how: Full(io.open(*a, **how), left)  # noqa: E731, SIM115, UP020
            patch.setattr("vaelab.durable.open", opened, raising=False)
            try:
                save_checkpoint(folder, tree(3, 3.0))
            except EnvironmentFault as error:
                failed = "disk full while saving step 3" in str(error)
                if not failed:
                    raise
        got, _ = load_checkpoint(folder)
        assert got["state"]["step"] in (2, 3)
        assert (got["now"]["model"]["w"] == got["state"]["step"]).all(), "a mixed state"
        assert leftovers(folder) == []
        found.append(got["state"]["step"])
        if not failed:
            break
    assert found[0] == 2
    assert found[-1] == 3
    assert 5 <= number < 20


def test_the_running_statistics_of_a_bad_step_are_undone() -> None:
    """A bad step moves the running statistics before it is known to be bad."""
    model, seen = with_batch_norm(), []

    class Watched(Spoilt):
        def forward(self, model, x, *, step, **how):
            seen.append({k: v.clone() for k, v in model.posterior.network.named_buffers()})
            return super().forward(model, x, step=step, **how)

    bad = rows(HERE.data.numpy().copy())
    bad.data[11, 3] = float("nan")
    history = optimise(model, Watched({1}), bad, None, Settings(epochs=3, batch_size=17))
    undone = [bad["step"] - 1 for bad in history.bad_steps]
    assert 1 in undone
    assert len(undone) in (3, 4)  # the spoilt step may be that of the spoilt row
    assert [step for step, (a, b) in enumerate(itertools.pairwise(seen)) if equal(a, b)] == [
        s for s in undone if s < 11
    ]
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
