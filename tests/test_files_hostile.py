"""No damaged or hostile model file gets in, each is refused by name, and none runs anything."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hostile.bombs import BOMBS
from hostile.foreign import FOREIGN
from hostile.forged import FORGED, LINEAR
from hostile.makers import Bomb, part, planned
from small_parts import REGISTRY, Own, OwnPart, small_file
from vaelab import files
from vaelab.errors import ModelFileError
from vaelab.files.container import MAX_HEADER, pack
from watch import watched

HOSTILE = [*FOREIGN, *FORGED, *BOMBS]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return small_file(tmp_path_factory.mktemp("small") / "m")


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Read one sound and one broken file: whatever is imported lazily is then imported before anything is watched."""
    path = tmp_path_factory.mktemp("warm") / "m"
    small_file(path)
    files.load(path, registry=REGISTRY)
    files.inspect(path)
    path.write_bytes(planned(part("parts.Dense", inputs="2", outputs=2), **LINEAR))
    with contextlib.suppress(ModelFileError):
        files.load(path, registry=REGISTRY)


def test_there_are_enough_of_them() -> None:
    names = [case[0] for case in HOSTILE]
    assert len(set(names)) == len(names) >= 60
    assert len(FOREIGN) >= 60


@pytest.mark.parametrize(("data", "words"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_hostile_files_are_refused_by_name(
    data: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    start = time.perf_counter()
    with watched() as done, pytest.raises(ModelFileError) as caught:
        files.load(path, registry=REGISTRY)
    assert time.perf_counter() - start < 1.5
    assert not done
    message = str(caught.value)
    assert words in message
    assert message.startswith(str(path))
    assert message.isprintable()
    assert len(message) - len(str(path)) < 400
    with watched() as done, contextlib.suppress(ModelFileError):  # inspect may show it, but fails in no other way
        files.inspect(path)
    assert not done
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
from watch import watched
path, giant = sys.argv[1:]
files.load(path, registry=REGISTRY)             # whatever is imported lazily is imported now
with watched() as seen:
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
    command = [sys.executable, "-c", CHILD, str(tmp_path / "m"), str(tmp_path / "giant")]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root.parent / 'src'}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.strip() == "[] True", done.stdout + done.stderr


def test_the_watch_sees_what_a_pickle_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with watched() as done:
        pickle.loads(pickle.dumps(Bomb()))
        Path("note").write_text("written")
        eval("1 + 1")
    assert [line.split()[0] for line in done] == ["pickle.find_class", "os.system", "open", "compile", "exec"]
