"""Model files: what is damaged, forged or not finite is refused, and what is shared while in use stays as it is."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import torch
from torch import nn

from exact import check
from hostile.forged import FORGED
from small_parts import REGISTRY, Dense, small_file
from vaelab import files
from vaelab.errors import ModelFileError
from vaelab.part import inference


def refusal(path: Path, data: bytes) -> str:
    """Return why a file is refused; "" if it loads."""
    path.write_bytes(data)
    try:
        files.load(path, registry=REGISTRY)
    except ModelFileError as error:
        return str(error)
    return ""


@check
def forged_files_are_refused_by_name() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, data, words in FORGED:
            assert words in refusal(Path(folder) / "m", data), f"{name}: not refused by name"


@check
def damaged_files_are_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m"
        with torch.random.fork_rng(devices=[]):
            whole = small_file(path)
        assert not refusal(path, whole), "a sound file loads"
        for i in range(8, len(whole), 97):
            flipped = bytearray(whole)
            flipped[i] ^= 1
            assert refusal(path, bytes(flipped)), f"bit 0 of byte {i} flipped"
            assert "missing" in refusal(path, whole[:i]), f"cut at byte {i}: says how much is missing"


@check
def what_is_loaded_owes_nothing_to_the_file() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m"
        with torch.random.fork_rng(devices=[]):
            made = Dense(2, 2)
        for i, parameter in enumerate(made.parameters()):
            nn.init.constant_(parameter, i + 0.5)  # no values that a constructor would draw again
        files.save(path, {"a": made}, {}, registry=REGISTRY)
        first, second = (files.load(path, registry=REGISTRY)[0]["a"] for _ in range(2))
        kept = [p.detach().clone() for p in second.parameters()]
        with torch.no_grad():
            for parameter in first.parameters():
                parameter.zero_()
        path.write_bytes(bytes(path.stat().st_size))
        assert all(torch.equal(a, b) for a, b in zip(kept, second.parameters()))
        assert all(torch.equal(a, b) for a, b in zip(made.parameters(), kept)), "the weights are those of the file"
        assert not second.training, "a loaded model is in evaluation mode"


@check
def a_model_in_use_by_two_threads_keeps_its_mode() -> None:
    model, inside, leave = nn.Dropout().train(), threading.Event(), threading.Event()

    def first() -> None:
        with inference(model):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(10)
    with inference(model):
        leave.set()
        thread.join(10)
        assert not model.training, "the other thread has ended, this one has not"
    assert model.training, "put back by the last"
