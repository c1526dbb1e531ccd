"""Model files that are damaged, foreign, hostile or strange: refused by name, and nothing waits, runs or grows."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from faults.catalogue import Check, Place, command, library
from hostile.makers import ESCAPE, Bomb, entry, forge, made, tarred, zipped
from test_golden import FILES as GOLDEN
from test_golden import test_it_says_what_it_said as check_golden
from vaelab import files, load
from vaelab.errors import ModelFileError
from vaelab.files.container import START, Contents, pack, unpack

USE = ["-n", "2", "-o", "x.npy"]
DRAWN: Check = lambda place, out, err: _drawn(place)  # noqa: E731


def _drawn(place: Place) -> None:
    assert np.load(place.folder / "x.npy").shape == (2, 8, 8)


def golden() -> bytes:
    """Return a sound model file."""
    return next(f for f in GOLDEN if "digits" in f.name).read_bytes()


def changed(*, tensors: dict[str, torch.Tensor | None] | None = None, **document: object) -> bytes:
    """Return the sound model with tensors or keys of its document exchanged, and the digest made right again."""
    held: Contents = unpack(golden(), "golden")
    kept = {**held.tensors(), **(tensors or {})}
    said = {k: v for k, v in {**held.document, **document}.items() if k != "digest"}
    return pack({k: t for k, t in kept.items() if t is not None}, said)


def with_argument(path: str, value: object) -> bytes:
    """Return the sound model with one argument of its tree exchanged: "model.prior.latent_dim"."""
    tree = json.loads(json.dumps(unpack(golden(), "golden").document["tree"]))
    first, *middle, last = path.split(".")
    node = tree[first]
    for name in middle:
        node = node["arguments"][name]
    node["arguments"][last] = value
    return changed(tree=tree)


# ---- no model files at all -----------------------------------------------------------------------


def foreign(number: str, name: str, content: bytes, *says: str) -> None:
    """Enter a file that is something else, whatever it is called; `info` and `generate` must both refuse it."""

    @command(number, 4, f"{name}: ", *says)
    def info(place: Place) -> list[str]:
        return ["info", place.write(name, content)]

    @command(number, 4, f"{name}: ", *says)
    def generate(place: Place) -> list[str]:
        return ["generate", place.write(name, content), *USE]


PICKLE = "Python pickle. Pickles can run code when opened, so they are never read here"
foreign("F1", "empty.safetensors", b"", "it is empty", "The download may have failed")
foreign("F1", "note.safetensors", b"the model is on the other disk\n", "it is text (it starts with 'the model is on")
foreign("F1", "page.safetensors", b"<!DOCTYPE html><h1>404</h1>", "web page", "The download may have failed")
foreign("F1", "hole.safetensors", bytes(4096), "nothing but zeros", "fetch the file again")
foreign("F4", "model.safetensors", pickle.dumps({"w": Bomb()}, 4), PICKLE)
foreign("F4", "old.safetensors", pickle.dumps(Bomb(), 0), PICKLE)
foreign("F4", "model.pkl", pickle.dumps(Bomb(), 2), PICKLE)
foreign("F4", "model.pt", made(lambda b: torch.save({"w": torch.zeros(2)}, b)), "a PyTorch file", PICKLE[14:])
foreign("F4", "model.ckpt", gzip.compress(pickle.dumps(Bomb())), "gzip")
foreign("F4", "model.tar", tarred("model.pkl", pickle.dumps(Bomb())), "tar archive")
foreign("F5", "zip.safetensors", zipped("weights.bin"), "a zip archive")
foreign("F5", "npz.safetensors", made(lambda b: np.savez(b, w=np.zeros(3))), "a NumPy archive (npz)")
foreign("F5", "hdf5.safetensors", b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file")
foreign("F5", "onnx.safetensors", b"\x08\x08\x12\x07pytorch\x1a\x052.1.0", "an ONNX file")
foreign("F5", "gguf.safetensors", b"GGUF\x03\0\0\0" + bytes(100), "a GGUF file")


# ---- damage --------------------------------------------------------------------------------------


def cut(number: str, length: int, *says: str) -> None:
    foreign(
        number, f"cut{length}.safetensors", golden()[:length], "damaged", "missing. Copy or download it again", *says
    )


SIZE = len(golden())
cut("F2", 8, f"at least {int.from_bytes(golden()[:8], 'little'):,} bytes")
cut("F2", 30, "at least")
cut("F2", 1000, "at least")
cut("F2", SIZE - 1204, "damaged: 1,204 bytes missing")
cut("F2", SIZE - 1, "damaged: 1 bytes missing")
cut("F18", SIZE // 2, f"damaged: {SIZE - SIZE // 2:,} bytes missing")
foreign("F18", "filled.safetensors", golden()[: SIZE // 2] + bytes(SIZE - SIZE // 2), "does not match its digest")
foreign("F18", "appended.safetensors", golden() + golden(), f"damaged: {SIZE:,} bytes too many at its end")


@library("F2")
def truncated_at_any_byte(place: Place) -> None:
    whole = golden()
    for length in range(len(whole)):
        with pytest.raises(ModelFileError) as caught:
            unpack(whole[:length], "m")
        assert length < 8 or "bytes missing. Copy or download it again." in str(caught.value)


@library("F3")
def any_bit(place: Place) -> None:
    whole, rng = golden(), np.random.default_rng(0)
    for i, bit in zip(rng.permutation(len(whole))[:1500], rng.integers(0, 8, 1500)):  # all of them: test_files.py
        data = bytearray(whole)
        data[i] ^= 1 << int(bit)
        with pytest.raises(ModelFileError):
            unpack(bytes(data), "m")


@command("F3", 4, "flipped.safetensors", "its content does not match its digest")
def one_bit_of_the_weights(place: Place) -> list[str]:
    data = bytearray(golden())
    data[-100] ^= 4
    return ["generate", place.write("flipped.safetensors", bytes(data)), *USE]


@command("F3", 2, "--ignore-digest")
def there_is_no_way_round_the_digest(place: Place) -> list[str]:
    return ["generate", place.write("m.safetensors", golden()), *USE, "--ignore-digest"]


# ---- versions ------------------------------------------------------------------------------------

foreign("F6", "new.safetensors", changed(format=3), "by version 3 of the format", "reads up to 1", "Upgrade vaelab")


@command("F7", 0, check=DRAWN)
def an_older_file(place: Place) -> list[str]:
    return ["generate", place.write("0.1.0.safetensors", golden()), *USE]


@library("F7")
def it_says_what_it_said(place: Place) -> None:
    assert GOLDEN
    for file in GOLDEN:
        check_golden(file)


# ---- what is inside, with a digest that holds ----------------------------------------------------

foreign("F8", "twice.safetensors", forge('"a": {}, "a": {}'), "the key 'a' occurs twice")
foreign("F8", "nul.safetensors", forge({"a\0b": entry()}, bytes(4)), "named 'a\\x00b'")
foreign("F8", "up.safetensors", forge({"../../etc/passwd": entry()}, bytes(4)), "named '../../etc/passwd'")
foreign("F8", "ansi.safetensors", forge({ESCAPE: entry()}, bytes(4)), "named '\\x1b[31mred\\x00\\u202e../../etc/x'")


def refused(number: str, content: bytes, *says: str) -> None:
    """Enter a file that is whole, and refused when a network is to be built from it."""

    @command(number, 4, "m.safetensors: ", *says)
    def generate(place: Place) -> list[str]:
        return ["generate", place.write("m.safetensors", content), *USE]


refused("F8", changed(tensors={"model.extra": torch.zeros(2)}), "'model.extra' belongs to no part")
refused("F8", changed(tensors={"model.prior.unit": None}), "'model.prior.unit' is missing")
refused("F9", changed(tensors={"model.prior.unit": torch.ones(3)}), "has shape (3,), its part needs (2,)")
refused("F9", changed(tensors={"model.prior.unit": torch.ones(2).long()}), "has type torch.int64")
refused("F9", with_argument("model.prior.latent_dim", 3), "the prior has latent_dim 3, the posterior 2")
refused("F9", with_argument("schema.shape", [8, 9]), "its model is of rows (1, 8, 8), its schema of rows (1, 8, 9)")
refused("F9", with_argument("model.likelihood", {"shared": "model.posterior.network"}), "cannot be built")
refused("F9", changed(tree={"schema": unpack(golden(), "").document["tree"]["schema"]}), "belongs to no part")
refused("F10", with_argument("model.prior.latent_dim", 10**9), "cannot be built", "latent_dim 1000000000")
refused("F10", with_argument("model.posterior.network.hidden", [10**9]), "has shape")
refused("F10", with_argument("model.posterior.network.hidden", [1] * 9_999), "far more layers than the file holds")
refused("F10", with_argument("model.posterior.network.hidden", [1] * 200_000), "has length 200,000; at most 10,000")
refused("F10", with_argument("model.posterior.network.hidden", [-8]), "hidden widths must be at least 1")
refused("F10", with_argument("model.posterior.network.hidden", [8.5]), "expected Sequence[int]")
refused("F10", with_argument("model.prior.latent_dim", 2.0), "'model.prior.latent_dim' is '2.0', expected int")
refused("F10", with_argument("model.prior.latent_dims", 2), "has other arguments", "latent_dims")
refused("F10", forge(raw='{"format":1,"tree":' + "[" * 100_000 + "]" * 100_000 + "}"), "nested deeper than 32 levels")


@library("F10")
def sizes_are_computed_before_memory_is_taken(place: Place) -> None:
    import resource

    tree = json.loads(json.dumps(unpack(golden(), "").document["tree"]))
    for name, side in (("posterior", "outputs"), ("likelihood", "inputs")):
        network = tree["model"]["arguments"][name]["arguments"]["network"]["arguments"]
        network["hidden"], network[side] = [10**9, 10**9], [10**9]
    place.write("m.safetensors", changed(tree=tree))
    with pytest.raises(ModelFileError):  # the first time it imports what it needs
        load("m.safetensors")
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(ModelFileError):
        load("m.safetensors")
    assert time.perf_counter() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # in KB: 64 MB


refused("F10", with_argument("schema.values", "fancy"), "values is", "expected binary, integer")
refused("F10", with_argument("schema.layout", "blob"), "layout is", "expected image, table, array")
refused("F10", with_argument("schema.shape", [8, 0]), "have no entries")
refused("F10", with_argument("schema.loc", 0.0), "'schema.loc' is '0.0', expected Tensor")

NAN = {"model.prior.unit": torch.tensor([1.0, float("nan")])}
refused("F11", changed(tensors=NAN), "the tensor 'model.prior.unit' holds NaN or an infinity")


@command("F11", 0, check=lambda place, out, err: _shows_nan(out))
def inspect_shows_what_is_not_finite(place: Place) -> list[str]:
    return ["info", place.write("m.safetensors", changed(tensors=NAN)), "--json"]


def _shows_nan(out: str) -> None:
    held = json.loads(out)
    assert not held["finite"]
    assert [name for name, tensor in held["tensors"].items() if not tensor["finite"]] == ["model.prior.unit"]


TINY = ", ".join(f'"a{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(200_000))
foreign("F12", "tiny.safetensors", forge(TINY), "its header claims 11,", "at most 1,048,576 are read")
MANY = {f"a{i}": entry(shape=[0], offsets=[0, 0]) for i in range(1025)}
foreign("F12", "many.safetensors", forge(MANY), "1,025 tensors")


@command("F12", 4, "m.safetensors: its header claims 100,000,000 bytes; at most 1,048,576 are read")
def header_of_100_megabytes(place: Place) -> list[str]:
    with open("m.safetensors", "wb") as file:
        file.write((10**8).to_bytes(8, "little") + START)
        file.truncate(10**8 + 8)  # a file with a hole: it takes no disk
    return ["info", "m.safetensors"]


HOSTILE_META = {
    "paper": "https://example.org/\x1b[31m",
    "reason": "</script><script>alert(1)</script>",
    "\u202epath": "/etc/passwd\n\nerror: none",
    "formula": '=cmd|"/c calc"!A0',
    "lone": "\ud800",
    "best": {"step": "../../etc/passwd"},
}


@command("F13", 0, check=lambda place, out, err: _escaped(out))
def metadata_is_shown_and_nothing_else(place: Place) -> list[str]:
    return ["info", place.write("m.safetensors", changed(meta=HOSTILE_META))]


def _escaped(out: str) -> None:
    assert "https://example.org/\\x1b[31m" in out
    assert "\\u202epath" in out
    assert "/etc/passwd\\n\\nerror: none" in out
    assert "\\ud800" in out
    assert all(line.isprintable() for line in out.splitlines())


@command("F13", 0, check=DRAWN)
def hostile_metadata_moves_nothing(place: Place) -> list[str]:
    return ["generate", place.write("m.safetensors", changed(meta=HOSTILE_META)), *USE]


refused("F13", changed(meta=[1, 2]), "its meta is no object")


# ---- what a path can be --------------------------------------------------------------------------


@command("F14", 4, "pipe: not a model file but a pipe")
def a_pipe_is_not_waited_for(place: Place) -> list[str]:
    os.mkfifo("pipe")
    return ["generate", "pipe", *USE]


@command("F14", 4, "/dev/zero: not a model file but a device")
def a_device(place: Place) -> list[str]:
    return ["info", "/dev/zero"]


@command("F14", 4, "run/model.safetensors: not a model file but a folder")
def a_folder_in_its_place(place: Place) -> list[str]:
    os.makedirs("run/model.safetensors")
    return ["info", "run"]


@command("F14", 4, "empty/model.safetensors: there is no such file")
def a_folder_without_a_model(place: Place) -> list[str]:
    os.makedirs("empty")
    return ["info", "empty"]


@command("F14", 4, "link.safetensors", "there is no such file")
def a_link_to_nowhere(place: Place) -> list[str]:
    os.symlink("gone.safetensors", "link.safetensors")
    return ["info", "link.safetensors"]


@command("F14", 5, "link.safetensors cannot be read", "symbolic links")
def a_link_to_itself(place: Place) -> list[str]:
    os.symlink("link.safetensors", "link.safetensors")
    return ["info", "link.safetensors"]


@command("F14", 0, check=DRAWN)
def a_link_to_a_model(place: Place) -> list[str]:
    place.write("real.safetensors", golden())
    os.symlink("real.safetensors", "link.safetensors")
    return ["generate", "link.safetensors", *USE]


@library("F15")
def a_file_that_changes_while_it_is_read(place: Place) -> None:
    first, second = golden(), changed(tensors={"model.prior.unit": torch.full((2,), 7.0)})
    assert len(first) == len(second)
    path = place.folder / place.write("m.safetensors", first)
    opened = []

    def read_and_overwrite(path: Path, most: int) -> bytes:
        opened.append(path)
        data = original(path, most)
        path.write_bytes(second)
        return data

    original = files.read_whole
    with patch.object(files, "read_whole", read_and_overwrite):
        run = load(path)
    assert opened == [path], "a file is read once"
    assert torch.equal(run.model.prior.unit, torch.ones(2)), "what was read first is what is used"
    assert torch.equal(load(path).model.prior.unit, torch.full((2,), 7.0))
    path.write_bytes(first[:3000] + second[3000:])  # half of the one and half of the other
    with pytest.raises(ModelFileError, match="does not match its digest"):
        load(path)


@command("F19", 0, check=DRAWN)
def a_folder_that_cannot_be_written_to(place: Place) -> list[str]:
    os.mkdir("run")
    place.write("run/model.safetensors", golden())
    os.chmod("run/model.safetensors", 0o444)
    os.chmod("run", 0o555)
    return ["generate", "run", *USE]
