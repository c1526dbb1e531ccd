"""No damaged or hostile model file gets in, each is refused by name, and none runs anything."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from small_parts import REGISTRY, Own, OwnPart, small_file
from vaelab import files
from vaelab.errors import ModelFileError
from vaelab.files.container import MAX_HEADER, START, pack


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return small_file(tmp_path_factory.mktemp("small") / "m")


def seal(header: bytes, body: bytes = b"") -> bytes:
    """Return a file with this header and a digest that holds; the first run of 64 zeros is where it goes."""
    data = struct.pack("<Q", len(header)) + header + body
    return data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1)


def forge(tensors: object = None, body: bytes = b"", document: object = None, raw: str | None = None) -> bytes:
    text = raw if raw is not None else json.dumps(document or {"format": 1, "tree": {"m": 0}, "meta": {}})
    text = '{"digest":"' + "0" * 64 + '",' + text[1:]
    entries = tensors if isinstance(tensors, str) else json.dumps(tensors or {})[1:-1]
    joined = '{"__metadata__":{"vaelab":' + json.dumps(text) + "}" + (", " + entries if entries else "") + "}"
    return seal(joined.encode(), body)


def planned(tree: object, **tensors: Tensor) -> bytes:
    return pack(tensors, {"format": 1, "version": "0", "tree": {"m": tree}, "meta": {}})


def part(name: str, **arguments: object) -> dict[str, object]:
    return {"part": name, "arguments": arguments}


def entry(dtype: str = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("touch PWNED",))


def made(write: object) -> bytes:
    import io

    buffer = io.BytesIO()
    write(buffer)  # type: ignore[operator]
    return buffer.getvalue()


def zipped(name: str, content: bytes = b"x") -> bytes:
    def write(buffer: object) -> None:
        with zipfile.ZipFile(buffer, "w") as archive:  # type: ignore[call-overload]
            archive.writestr(name, content)

    return made(write)


def deep(n: int) -> str:
    return '{"format":1,"meta":{},"tree":' + "[" * n + "]" * n + "}"


ESCAPE = "\x1b[31mred\x00\u202e../../etc/x"
LINEAR = {"m.layers.0.weight": torch.zeros(2, 2), "m.layers.0.bias": torch.zeros(2)}
HOSTILE: list[tuple[str, bytes, str]] = [
    *((f"pickle {p}", pickle.dumps({"a": Bomb()}, protocol=p), "Python pickle") for p in range(6)),
    *((f"bare pickle {p}", pickle.dumps(Bomb(), protocol=p), "Python pickle") for p in range(6)),
    ("pickle list", pickle.dumps([1, 2], protocol=0), "Python pickle"),
    ("pickle inst", b"(S'touch PWNED'\nios\nsystem\n.", "Python pickle"),
    ("torch.save", made(lambda b: torch.save({"w": torch.zeros(2)}, b)), "PyTorch file"),
    (
        "old torch.save",
        made(lambda b: torch.save({"w": torch.zeros(2)}, b, _use_new_zipfile_serialization=False)),
        "Python pickle",
    ),
    ("zip", zipped("readme.txt"), "zip archive"),
    ("pickle in zip", zipped("archive/data.pkl", pickle.dumps(Bomb())), "PyTorch file"),
    ("npz", made(lambda b: np.savez(b, x=np.zeros(2))), "npz"),
    ("npy", made(lambda b: np.save(b, np.zeros(2))), "NumPy array"),
    ("hdf5", b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
    ("gzip", b"\x1f\x8b\x08" + bytes(20), "gzip"),
    ("onnx", b"\x08\x07\x12\x07pytorch\x1a\x052.1.0", "ONNX"),
    ("html", b"\n<!DOCTYPE html><html>404</html>", "web page. The download may have failed"),
    ("html bom", b"\xef\xbb\xbf<html>", "web page"),
    ("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ("empty", b"", "empty"),
    ("text", "a short note, é".encode(), "text (it starts with 'a short note"),
    ("json", b'{"a": 1}', "text"),
    ("binary", bytes(range(200, 255)), "unknown kind"),
    ("one byte", b"\x07", "unknown kind"),
    ("ansi text", b"\x1b[31mred", "unknown kind (it starts with '\\x1b[31mre"),
    (
        "plain safetensors",
        __import__("safetensors.torch").torch.save({"a": torch.zeros(1)}),
        "not a model made by vaelab",
    ),
    ("giant header", struct.pack("<Q", 2**62) + START + bytes(99), "at most 1,048,576"),
    ("header past end", struct.pack("<Q", 10_000) + START + bytes(99), "bytes missing"),
    ("bad digest", forge().replace(b'"tree', b'"tri3', 1), "damaged"),
    ("trailing", forge(body=b"PK\x03\x04"), "4 bytes too many"),
    ("short", forge({"a": entry()}, b"\0\0"), "2 bytes missing"),
    ("duplicate tensor", forge('"a": {}, "a": {}'), "'a' occurs twice"),
    ("duplicate metadata", forge('"__metadata__": {}'), "'__metadata__' occurs twice"),
    ("duplicate argument", forge(raw='{"format":1,"format":1,"tree":{}}'), "'format' occurs twice"),
    ("nan", forge(raw='{"format":1,"tree":NaN}'), "NaN"),
    ("huge float", forge(raw='{"format":1,"tree":1e999}'), "'1e999'"),
    ("long integer", forge(raw='{"format":1,"tree":' + "9" * 6000 + "}"), "JSON cannot be read"),
    ("not utf-8", seal(START + b"0" * 64 + b'\\"}"}, "\xff": 1}'), "JSON cannot be read"),
    ("no object", forge(raw="{1}"), "JSON cannot be read"),
    ("lone surrogate", forge(raw='{"format":"\\ud800"}'), "format version is '\\ud800'"),
    ("deep", forge(raw=deep(40)), "deeper than 32"),
    ("deeper", forge(raw=deep(100_000)), "deeper than 32"),
    ("deep header", forge('"a":' + "[" * 100_000 + "]" * 100_000), "deeper than 32"),
    ("ansi name", forge({ESCAPE: entry()}, bytes(4)), "named '\\x1b[31mred\\x00\\u202e../../etc/x'"),
    ("dot name", forge({"../../etc/x": entry()}, bytes(4)), "named '../../etc/x'"),
    ("long name", forge({"a" * 5000: entry()}, bytes(4)), "named 'aaaaaaaaa"),
    ("extra key", forge({"a": {**entry(), "x": 1}}, bytes(4)), "not of the safetensors format"),
    ("no dict", forge({"a": 3}), "not of the safetensors format"),
    ("dtype", forge({"a": entry("C64")}, bytes(4)), "has type 'C64'"),
    ("dtype list", forge({"a": entry(["F32"])}, bytes(4)), "has type"),  # type: ignore[arg-type]
    ("ndim", forge({"a": entry(shape=[1] * 9)}, bytes(4)), "has shape"),
    ("negative", forge({"a": entry(shape=[-1])}, bytes(4)), "has shape"),
    ("float size", forge({"a": entry(shape=[1.0])}, bytes(4)), "has shape"),
    ("truth as size", forge({"a": entry(shape=[True])}, bytes(4)), "has shape"),
    ("overflow", forge({"a": entry(shape=[2**62, 2**62])}, bytes(4)), "shape and type need"),
    ("offsets", forge({"a": entry(offsets=[0])}, bytes(4)), "has offsets"),
    ("size", forge({"a": entry(offsets=[0, 8])}, bytes(8)), "shape and type need 4"),
    ("overlap", forge({"a": entry(), "b": entry()}, bytes(4)), "overlaps"),
    ("hole", forge({"a": entry(), "b": entry(offsets=[8, 12])}, bytes(12)), "leaves a hole"),
    ("truth", forge({"a": entry("BOOL", offsets=[0, 1])}, b"\2"), "neither 0 nor 1"),
    ("many", forge({f"a{i}": entry(shape=[0], offsets=[0, 0]) for i in range(2000)}), "2,000 tensors"),
    (
        "200,000",
        forge({f"a{i}": entry(shape=[0], offsets=[0, 0]) for i in range(200_000)}),
        "at most 1,048,576",
    ),
    (
        "newer",
        forge(document={"format": 3}),
        "made by version 3 of the format; this program reads up to 1. Upgrade",
    ),
    ("version text", forge(document={"format": "1"}), "format version is '1'"),
    ("version truth", forge(document={"format": True}), "format version is"),
    ("no tree", forge(document={"format": 1}), "names no module"),
    ("scalar tree", forge(document={"format": 1, "tree": {"m": 3}}), "'m' is no module"),
    ("os.system", planned(part("os.system", command="touch PWNED")), "unknown part, 'os.system'"),
    ("dunder", planned(part("__import__")), "unknown part, '__import__'"),
    ("escaped class", planned(part(ESCAPE)), "unknown part, '\\x1b[31m"),
    ("unknown form", planned({"eval": "1+1"}), "unknown form ('eval')"),
    ("empty node", planned({}), "unknown form"),
    ("two kinds", planned({"custom": "a", "part": "b"}), "unknown form"),
    ("forward reference", planned({"shared": "n"}), "refers to 'n'"),
    (
        "missing tensor argument",
        planned(part("parts.Mixture", means={"tensor": "x"})),
        "refers to the tensor 'x'",
    ),
    (
        "unknown argument",
        planned(part("parts.Dense", inputs=2, outputs=2, evil=1)),
        'other arguments: "got an unex',
    ),
    ("missing argument", planned(part("parts.Dense", inputs=2)), "missing a required argument"),
    ("wrong type", planned(part("parts.Dense", inputs="2", outputs=2)), "cannot be built"),
    ("negative width", planned(part("parts.Dense", inputs=-2, outputs=2)), "cannot be built"),
    (
        "refused value",
        planned(part("parts.Mixture", means={"tensor": "t"}), t=-torch.ones(2, 2)),
        "must be positive",
    ),
    (
        "missing tensor",
        planned(part("parts.Dense", inputs=2, outputs=2, hidden=[])),
        "'m.layers.0.bias' is missing",
    ),
    ("unknown tensor", planned(part("parts.Kept"), **LINEAR), "belongs to no part"),
    (
        "other shape",
        planned(part("parts.Dense", inputs=3, outputs=2, hidden=[]), **LINEAR),
        "weight' has shape (2, 2), its part needs (2, 3)",
    ),
    (
        "other type",
        planned(
            part("parts.Dense", inputs=2, outputs=2, hidden=[]),
            **{**LINEAR, "m.layers.0.bias": torch.zeros(2, dtype=torch.int64)},
        ),
        "has type torch.int64",
    ),
    (
        "huge width",
        planned(part("parts.Dense", inputs=10**9, outputs=2, hidden=[10**9]), **LINEAR),
        "missing",
    ),
    (
        "huge width, same names",
        planned(part("parts.Dense", inputs=10**9, outputs=10**9, hidden=[]), **LINEAR),
        "has shape",
    ),
    ("huger", planned(part("parts.Dense", inputs=10**12, outputs=2)), "at most 2,147,483,648"),
    (
        "many layers",
        planned(part("parts.Dense", inputs=1, outputs=1, hidden=[1] * 10_000)),
        "far more layers",
    ),
    (
        "million layers",
        planned(part("parts.Dense", inputs=1, outputs=1, hidden=[1] * 300_000)),
        "at most 10,000",
    ),
    ("nan weight", planned(part("parts.Dense"), a=torch.tensor([1.0, float("nan")])), "'a' holds NaN"),
    (
        "inf weight",
        planned(part("parts.Dense"), a=torch.tensor(float("inf"), dtype=torch.bfloat16)),
        "'a' holds NaN",
    ),
]


@pytest.mark.parametrize(("data", "words"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_hostile_files_are_refused_by_name(
    data: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    start = time.perf_counter()
    with pytest.raises(ModelFileError) as caught:
        files.load(path, registry=REGISTRY)
    assert time.perf_counter() - start < 1.5
    message = str(caught.value)
    assert words in message
    assert message.startswith(str(path))
    assert message.isprintable()
    assert len(message) - len(str(path)) < 400
    with contextlib.suppress(ModelFileError):  # inspect may show it, but fails in no other way
        files.inspect(path)
    assert not Path("PWNED").exists()


def random_node(rng: random.Random, depth: int = 0) -> object:
    """Return a tree of valid and nearly valid nodes."""
    child = lambda: random_node(rng, depth + 1)  # noqa: E731
    keys = ["first", "second", "thing", "layers", "heads", "means", "inputs", "a.b", "", "training", "x"]
    some = lambda: {rng.choice(keys): child() for _ in range(rng.randrange(3))}  # noqa: E731
    leaves: list[object] = [
        None,
        True,
        3,
        -1,
        2.5,
        "relu",
        "",
        [],
        {},
        10**9,
        10**30,
        {"tensor": "t"},
        {"tensor": 1},
    ]
    leaves += [
        {"shared": "m"},
        {"shared": "m.first"},
        {"custom": "Own"},
        {"custom": "Other"},
        {"part": "parts.Kept"},
    ]
    if depth > 4 or rng.random() < 0.3:
        return rng.choice(leaves)
    names = [*REGISTRY, "OwnPart", "os.system", ""]
    node = {rng.choice(["part", "own"]): rng.choice(names), "arguments": some()}
    kinds = [
        node,
        node,
        node,
        {"list": [child()]},
        {"dict": some()},
        {"modules": [child()]},
        {"named": some()},
        [child()],
    ]
    return rng.choice(kinds)


def test_random_trees_are_refused_or_load(tmp_path: Path) -> None:
    rng = random.Random(0)
    parts = {"Own": Own, "OwnPart": OwnPart}
    for _ in range(600):
        data = planned(random_node(rng), **({"t": torch.ones(2, 2)} if rng.random() < 0.3 else {}))
        (tmp_path / "m").write_bytes(data)
        with contextlib.suppress(ModelFileError):
            files.load(tmp_path / "m", registry=REGISTRY, parts=parts)
        files.inspect(tmp_path / "m")


def test_inspect_shows_what_is_not_finite(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(planned(part("parts.Dense"), a=torch.tensor([float("nan")]), b=torch.ones(1)))
    found = files.inspect(tmp_path / "m")
    assert not found["finite"]
    assert [name for name, tensor in found["tensors"].items() if not tensor["finite"]] == ["a"]


def test_only_regular_files_are_read(tmp_path: Path, small: bytes) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "real").write_bytes(small)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name, words in [
        ("pipe", "a pipe"),
        (".", "a folder"),
        ("/dev/zero", "a device"),
        ("none", "no such file"),
    ]:
        with pytest.raises(ModelFileError, match=words):
            files.load(tmp_path / name, registry=REGISTRY)
    files.load(tmp_path / "link", registry=REGISTRY)
    with pytest.raises(ModelFileError, match="larger than 100 bytes"):
        files.inspect(tmp_path / "real", max_bytes=100)


def test_the_largest_header_still_loads(tmp_path: Path) -> None:
    names = [f"m.{'n' * 120}{i}" for i in range(1024)]
    path = tmp_path / "m"
    path.write_bytes(pack({name: torch.zeros(0) for name in names}, {"format": 1, "tree": {}, "meta": {}}))
    assert len(files.inspect(path)["tensors"]) == 1024
    assert path.stat().st_size < MAX_HEADER / 3


CHILD = """
import resource, sys
from small_parts import REGISTRY, files
path, ok, giant = sys.argv[1:]
files.load(ok, registry=REGISTRY)               # whatever is imported lazily is imported now
seen = []
def hook(event, args):
    names = ("exec", "compile", "import", "os.system", "pickle.", "ctypes.dlopen", "os.exec")
    if event.startswith((*names, "subprocess.", "socket.", "os.posix_spawn", "os.fork")):
        if event != "import" or args[0] not in sys.modules:
            seen.append((event, str(args)[:200]))
sys.addaudithook(hook)
files.load(path, registry=REGISTRY)
files.inspect(path)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    files.load(giant, registry=REGISTRY)
except files.ModelFileError:
    pass
print(seen, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024)
"""


def test_loading_runs_nothing(tmp_path: Path, small: bytes) -> None:
    (tmp_path / "m").write_bytes(small)
    giant = planned(part("parts.Dense", inputs=10**9, outputs=10**9, hidden=[]), **LINEAR)
    (tmp_path / "giant").write_bytes(giant)
    root = Path(__file__).parent
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(CHILD),
        *(str(tmp_path / n) for n in ("m", "m", "giant")),
    ]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root.parent / 'src'}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.strip() == "[] True", done.stdout + done.stderr
