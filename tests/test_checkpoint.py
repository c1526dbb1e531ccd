"""The file that a run goes on from: every value comes back, and no crash, damage or full disk costs a state."""

from __future__ import annotations

import io
import itertools
import os
from pathlib import Path

import pytest
import torch

from checks_training import StopsAt
from test_training import fresh, made
from vaelab import ELBO, files
from vaelab.errors import EnvironmentFault
from vaelab.parts import registry
from vaelab.training import Settings, optimise
from vaelab.training.checkpoint import FILE, PREVIOUS, leftovers, load_checkpoint, save_checkpoint


def tree(step: int, value: float) -> dict:
    now = {"model": {"w": torch.full((300,), value)}, "objective": {}, "optimisers": {}}
    return {"now": now, "state": {"step": step, "batch_size": 1, "total_steps": 9, "watch": {}, "history": HISTORY}}


HISTORY = {"best": None, "records": []}
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


def test_a_run_from_before_there_was_a_mean_goes_on(tmp_path: Path) -> None:
    train, settings = made(), Settings(epochs=4, batch_size=10)
    optimise(fresh(), ELBO(), train, None, settings, keeper=StopsAt(tmp_path, 5))
    tree = load_checkpoint(tmp_path)[0]
    for weights in (tree["now"], tree["state"]["good"]):
        del weights["average"]
    save_checkpoint(tmp_path, tree)
    history = optimise(fresh(), ELBO(), train, None, settings, keeper=StopsAt(tmp_path, -1))
    assert history.stopped == "finished"


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
