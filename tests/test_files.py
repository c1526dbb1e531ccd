"""Model files: round trips bit for bit, and no hostile or damaged file gets in."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import stat
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
from torch import Tensor, nn

from vaelab import durable, files
from vaelab.errors import EnvironmentFault, ModelFileError, UsageError
from vaelab.files.container import MAX_HEADER, START, pack
from vaelab.part import Part

# ---- small parts --------------------------------------------------------------------------------------------------


class Dense(Part):
    def __init__(self, inputs: int, outputs: int, hidden: tuple[int, ...] = (5,), slope: float = 0.1) -> None:
        super().__init__()
        self.inputs, self.outputs, self.hidden, self.slope = inputs, outputs, hidden, slope
        widths = (inputs, *hidden, outputs)
        layers: list[nn.Module] = []
        for a, b in zip(widths, widths[1:]):
            layers += [nn.Linear(a, b), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Mixture(Part):
    """A tensor argument whose value its constructor checks, a parameter, an integer buffer, a transient buffer."""

    def __init__(
        self, means: Tensor, names: tuple[str, ...] = (), options: dict[str, object] | None = None
    ) -> None:
        super().__init__()
        if not bool((means > 0).all()):
            raise UsageError("Mixture: means must be positive")
        self.names, self.options = names, options
        self.register_buffer("means", means)
        self.logits = nn.Parameter(torch.randn(means.shape[0]))
        self.register_buffer("steps", torch.tensor(3))
        self.register_buffer("grid", torch.arange(4.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.softmax(0) @ (x[:, None] - self.means).square().sum(-1).T


class Mixed(Part):
    """Its constructor mixes the tensor with new ones, which the first plan cannot do."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("wide", scale * torch.ones(3))


class Pair(Part):
    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class Many(Part):
    def __init__(self, layers: nn.ModuleList, heads: nn.ModuleDict) -> None:
        super().__init__()
        self.layers, self.heads = layers, heads


class Kept(Part):
    """Keeps whatever it is given."""

    def __init__(self, thing: object = None) -> None:
        super().__init__()
        self.thing = thing


class Own(nn.Module):
    """A user's network, unknown to the package."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.inner = nn.Linear(width, 3)
        self.register_buffer("offset", torch.full((3,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).sin() + self.offset


class OwnPart(Part):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.randn(size))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


REGISTRY: dict[str, type] = {f"parts.{c.__name__}": c for c in (Dense, Mixture, Mixed, Pair, Many, Kept)}


def trip(
    tmp_path: Path, *, parts: dict[str, object] | None = None, **modules: nn.Module
) -> dict[str, nn.Module]:
    files.save(tmp_path / "m", modules, {}, registry=REGISTRY)
    return files.load(tmp_path / "m", registry=REGISTRY, parts=parts)[0]


def same(a: Tensor, b: Tensor) -> bool:
    return (
        a.dtype == b.dtype and a.shape == b.shape and bool((a.view(torch.uint8) == b.view(torch.uint8)).all())
    )


# ---- round trips --------------------------------------------------------------------------------------------------


def test_round_trip_is_exact(tmp_path: Path) -> None:
    model = Pair(
        Dense(3, 3, hidden=(4, 2), slope=0.3),
        Mixture(torch.rand(4, 3) + 0.1, ("a", "é\n"), {"k": (1, [2.5], None)}),
    )
    meta = {"z": 1, "columns": {"b": [1, 2.5, None, True], "a": "é\u202e"}}
    state = torch.get_rng_state()
    files.save(tmp_path / "m", {"model": model}, meta, registry=REGISTRY)
    modules, got = files.load(tmp_path / "m", registry=REGISTRY)
    assert torch.equal(state, torch.get_rng_state())
    assert got == meta
    assert list(got["columns"]) == ["b", "a"]
    loaded = modules["model"]
    assert isinstance(loaded, Pair)
    assert not loaded.training
    assert all(p.requires_grad for p in loaded.parameters())
    assert loaded.first.hidden == (4, 2)
    assert loaded.second.options == {"k": (1, [2.5], None)}
    assert loaded.second.names == ("a", "é\n")
    assert torch.equal(loaded.second.grid, torch.arange(4.0))
    for name, tensor in model.state_dict().items():
        assert same(tensor.reshape(-1), loaded.state_dict()[name].reshape(-1)), name
    x = torch.randn(7, 3)
    assert same(model(x), loaded(x))


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64,
        torch.float32,
        torch.bfloat16,
        torch.float16,
        torch.int64,
        torch.int32,
        torch.uint8,
        torch.bool,
    ],
)
def test_every_type(tmp_path: Path, dtype: torch.dtype) -> None:
    class Holder(Part):
        def __init__(self, value: Tensor) -> None:
            super().__init__()
            self.register_buffer("value", value)

    value = (torch.randn(3, 4) * 2).to(dtype).T  # not contiguous
    registry = {"Holder": Holder}
    files.save(tmp_path / "m", {"h": Holder(value), "empty": Holder(value[:0])}, {}, registry=registry)
    loaded = files.load(tmp_path / "m", registry=registry)[0]["h"]
    assert same(value.contiguous(), loaded.value)


def test_a_model_in_double_loads_in_double(tmp_path: Path) -> None:
    model = Dense(2, 2).double()
    loaded = trip(tmp_path, m=model)["m"]
    assert {p.dtype for p in loaded.parameters()} == {torch.float64}


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    model = Pair(Dense(3, 2), Mixture(torch.rand(4, 2) + 0.1))
    for name in "ab":
        files.save(tmp_path / name, {"model": model}, {"k": [1, 2]}, registry=REGISTRY)
    again, meta = files.load(tmp_path / "a", registry=REGISTRY)
    files.save(tmp_path / "c", again, meta, registry=REGISTRY)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()
    assert str(tmp_path).encode() not in (tmp_path / "a").read_bytes()


def test_shared_parts_and_tensors_stay_shared(tmp_path: Path) -> None:
    means = torch.rand(2, 3) + 0.1
    dense, mixture = Dense(3, 3), Mixture(means)
    inner = dense.layers[0]
    loaded = trip(
        tmp_path,
        m=Many(nn.ModuleList([dense, dense, mixture]), nn.ModuleDict({"z": Mixture(means), "a": dense})),
        other=dense,
        inner=Pair(dense, inner),
    )
    model = loaded["m"]
    assert model.layers[0] is model.layers[1] is model.heads["a"] is loaded["other"] is loaded["inner"].first
    assert loaded["inner"].second is model.layers[0].layers[0]
    assert model.layers[2].means is model.heads["z"].means
    assert list(model.heads) == ["z", "a"]
    assert len(files.inspect(tmp_path / "m")["tensors"]) == 4 + 3 + 2


def test_tensors_mixed_with_new_ones(tmp_path: Path) -> None:
    loaded = trip(tmp_path, m=Mixed(torch.tensor([1.0, 2.0, 3.0])))["m"]
    assert torch.equal(loaded.wide, torch.tensor([1.0, 2.0, 3.0]))


def test_a_custom_module_is_handed_back(tmp_path: Path) -> None:
    model = Pair(Own(), Dense(3, 2))
    x = torch.randn(4, 3)
    instance = Own()
    for parts in ({"Own": Own}, {"model.first": Own}, {"model.first": instance}, {"Own": lambda: Own(3)}):
        loaded = trip(tmp_path, parts=parts, model=model)["model"]
        assert same(loaded(x), model(x))
    assert loaded.first is not instance
    assert same(instance(x), model.first(x))
    message = r"'model\.first' is of your own class 'Own'.*parts=\{'model\.first': \.\.\.\} or parts=\{'Own'"
    with pytest.raises(ModelFileError, match=message):
        trip(tmp_path, model=model)
    with pytest.raises(
        ModelFileError, match=r"model\.first\.inner\.weight' has shape \(3, 3\), its part needs \(3, 4\)"
    ):
        trip(tmp_path, parts={"Own": lambda: Own(4)}, model=model)
    with pytest.raises(ModelFileError, match="needs a module or a callable"):
        trip(tmp_path, parts={"Own": 3}, model=model)


def test_saving_leaves_a_custom_module_alone(tmp_path: Path) -> None:
    class Resets(Part):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network
            nn.init.zeros_(network.inner.weight)

    model = Resets(Own())
    nn.init.ones_(model.network.inner.weight)
    files.save(tmp_path / "m", {"m": model}, {}, registry={"Resets": Resets})
    assert bool((model.network.inner.weight == 1).all())
    loaded = files.load(tmp_path / "m", registry={"Resets": Resets}, parts={"Own": Own})[0]["m"]
    assert bool((loaded.network.inner.weight == 1).all())


def test_a_part_of_ones_own_is_rebuilt(tmp_path: Path) -> None:
    model = Pair(Dense(2, 4), OwnPart(4))
    x = torch.randn(4, 2)
    assert same(trip(tmp_path, parts={"OwnPart": OwnPart}, model=model)["model"](x), model(x))
    with pytest.raises(ModelFileError, match="own class 'OwnPart'"):
        trip(tmp_path, model=model)
    with pytest.raises(ModelFileError, match="needs the class 'OwnPart'"):
        trip(tmp_path, parts={"OwnPart": OwnPart(4)}, model=model)


def test_what_a_file_cannot_hold_is_refused_on_saving(tmp_path: Path) -> None:
    extra = Dense(2, 2)
    extra.more = nn.Linear(2, 2)
    broken = Dense(2, 2)
    nn.init.constant_(broken.layers[0].weight, float("nan"))
    replaced = Mixture(torch.ones(2, 2))
    replaced.grid = torch.zeros(7)
    tied = Pair(nn.Linear(2, 2), nn.Linear(2, 2))
    tied_part = Pair(Dense(2, 2, ()), Dense(2, 2, ()))
    tied_part.second.layers[0].weight = tied_part.first.layers[0].weight
    cases = [
        (Kept(float("nan")), "m.thing is nan"),
        (Kept((1, {"a": float("inf")})), "m.thing.1.a is inf"),
        (Kept(print), "m.thing is of type builtin_function"),
        (Kept({1: 2}), "a key that is no string"),
        (Kept(torch.zeros(2)), "no persistent buffer"),
        (Kept((nn.Linear(2, 2),)), "m.thing.0 is a module that its owner does not register"),
        (Kept(2**40), "m.thing' is '1099511627776'; at most"),
        (Kept("x" * 20_000), "has length 20,000"),
        (Pair(nn.LazyLinear(3), Dense(2, 2)), "no shape yet"),
        (nn.ModuleDict({"a b": nn.Linear(1, 1)}), "a tensor is named 'm.a b.weight'"),
        (extra, "'m.more.bias' belongs to no part"),
        (broken, "layers.0.weight holds NaN"),
        (replaced, "the buffer m.grid is not as its constructor makes it"),
        (tied_part, "second.layers.0.weight' is missing"),
    ]
    for model, words in cases:
        with pytest.raises(UsageError) as caught:
            files.save(tmp_path / "m", {"m": model}, {}, registry=REGISTRY)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    assert tied.first is not tied.second
    for meta, words in [
        ({"a": [float("inf")]}, "meta.a.0"),
        ({"a": {1: 2}}, "meta.a"),
        ({"a": "x" * 2**20}, "at most"),
    ]:
        with pytest.raises(UsageError, match=words):
            files.save(tmp_path / "m", {"m": Dense(1, 1)}, meta, registry=REGISTRY)
    with pytest.raises(UsageError, match="a module is named 'a.b'"):
        files.save(tmp_path / "m", {"a.b": Dense(1, 1)}, {}, registry=REGISTRY)
    assert list(tmp_path.iterdir()) == []


def test_inspect_builds_nothing(tmp_path: Path) -> None:
    files.save(tmp_path / "m", {"model": Pair(Own(), Mixture(torch.ones(2, 2)))}, {"k": 1}, registry=REGISTRY)
    found = files.inspect(tmp_path / "m")
    assert json.loads(json.dumps(found)) == found
    assert found["format"] == 1
    assert found["meta"] == {"k": 1}
    assert found["finite"]
    assert found["parameters"] == {"model": 9 + 3 + 3 + 4 + 2}
    assert found["tensors"]["model.second.steps"] == {"dtype": "int64", "shape": [], "finite": True}
    assert found["tree"]["model"]["arguments"]["first"] == {"custom": "Own"}
    assert found["bytes"] == (tmp_path / "m").stat().st_size


def test_overwriting_a_file_leaves_the_loaded_model_alone(tmp_path: Path) -> None:
    model = Dense(2, 2)
    loaded = trip(tmp_path, m=model)["m"]
    (tmp_path / "m").write_bytes(b"\0" * (tmp_path / "m").stat().st_size)
    assert same(model(torch.ones(1, 2)), loaded(torch.ones(1, 2)))


# ---- damage -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("small") / "m"
    model = Pair(Dense(4, 6, hidden=(24, 16)), Mixture(torch.rand(4, 6) + 0.1))
    files.save(path, {"model": model}, {"rows": 100}, registry=REGISTRY)
    return path.read_bytes()


def test_every_bit_counts(small: bytes) -> None:
    assert 3500 < len(small) < 6000
    files.unpack(small, "m")
    for i in range(len(small)):
        data = bytearray(small)
        for bit in range(8):
            data[i] = small[i] ^ (1 << bit)
            with pytest.raises(ModelFileError):
                files.unpack(bytes(data), "m")


def test_every_truncation_is_refused(small: bytes, tmp_path: Path) -> None:
    for length in range(len(small)):
        with pytest.raises(ModelFileError) as caught:
            files.unpack(small[:length], "m")
        if length > 8:
            assert "damaged" in str(caught.value)
    (tmp_path / "m").write_bytes(small[:-1204])
    with pytest.raises(ModelFileError, match=r"damaged: 1,204 bytes missing"):
        files.load(tmp_path / "m", registry=REGISTRY)


# ---- hostile files ------------------------------------------------------------------------------------------------


def seal(header: bytes, body: bytes = b"") -> bytes:
    """Return a file with this header and a digest that holds; the first run of 64 zeros is where it goes."""
    data = struct.pack("<Q", len(header)) + header + body
    return data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1)


def forge(
    tensors: object = None, body: bytes = b"", document: object = None, raw: str | None = None
) -> bytes:
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
    try:  # whatever inspect says of it, it says it in the same way
        files.inspect(path)
    except ModelFileError:
        pass
    assert not Path("PWNED").exists()


def test_inspect_shows_what_is_not_finite(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(
        planned(part("parts.Dense"), a=torch.tensor([float("nan")]), b=torch.ones(1))
    )
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
from tests.test_files import REGISTRY, files
path, ok, giant = sys.argv[1:]
files.load(ok, registry=REGISTRY)               # whatever is imported lazily is imported now
seen = []
def hook(event, args):
    if event in {"exec", "compile", "import", "os.system", "pickle.find_class", "ctypes.dlopen", "os.exec"} or (
        event.startswith(("subprocess.", "socket.", "os.posix_spawn", "os.fork"))
    ):
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
    root = Path(__file__).parents[1]
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(CHILD),
        *(str(tmp_path / n) for n in ("m", "m", "giant")),
    ]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.strip() == "[] True", done.stdout + done.stderr


# ---- durable writing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["open", "fdopen", "fsync", "chmod", "replace"])
def test_a_failed_write_leaves_the_old_file(
    call: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"old")

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(durable.os, call, fail)
        with pytest.raises(EnvironmentFault if isinstance(error, OSError) else KeyboardInterrupt):
            durable.write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_is_complete_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(durable.os, name, lambda *a, n=name, r=real: (calls.append(n), r(*a))[1])
    durable.write_durably(tmp_path / "m", b"new")
    assert calls == ["fsync", "replace", "fsync"]


def test_mode_and_links(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        durable.write_durably(tmp_path / "m", b"1")
        assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o640
        os.chmod(tmp_path / "m", 0o600)
        (tmp_path / "link").symlink_to("m")
        durable.write_durably(tmp_path / "link", b"2")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o600
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "m").read_bytes() == b"2"
    with pytest.raises(EnvironmentFault, match="cannot be written: No such file"):
        durable.write_durably(tmp_path / "none" / "m", b"")


def test_another_holder_of_the_file_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, refusals = os.replace, [PermissionError(13, "in use")] * 3

    def busy(*args: str) -> None:
        if refusals:
            raise refusals.pop()
        real(*args)

    monkeypatch.setattr(durable.os, "replace", busy)
    monkeypatch.setattr(durable, "WINDOWS", True)
    monkeypatch.setattr(durable.time, "sleep", lambda seconds: None)
    durable.write_durably(tmp_path / "m", b"new")
    assert (tmp_path / "m").read_bytes() == b"new"


# ---- golden files -------------------------------------------------------------------------------------------------

GOLDEN = Path(__file__).parent / "golden"


def check_golden(path: Path, registry: dict[str, type], parts: dict[str, object] | None = None) -> None:
    """Check a file of an earlier release: it loads, and its network gives the outputs that were kept beside it.

    `NAME.safetensors` has NAME.npz beside it with `input` and `output` of the module that its meta calls "golden".
    """
    modules, meta = files.load(path, registry=registry, parts=parts)
    kept = np.load(path.with_suffix(".npz"), allow_pickle=False)
    with torch.no_grad():
        output = modules[meta["golden"]](torch.from_numpy(kept["input"]))
    np.testing.assert_allclose(output.numpy(), kept["output"], rtol=1e-6, atol=1e-6)


def test_the_check_of_golden_files(tmp_path: Path) -> None:
    model, x = Dense(3, 2), torch.randn(4, 3)
    files.save(tmp_path / "g.safetensors", {"net": model}, {"golden": "net"}, registry=REGISTRY)
    np.savez(tmp_path / "g.npz", input=x.numpy(), output=model(x).detach().numpy())
    check_golden(tmp_path / "g.safetensors", REGISTRY)
    np.savez(tmp_path / "g.npz", input=x.numpy(), output=model(x).detach().numpy() + 1e-4)
    with pytest.raises(AssertionError):
        check_golden(tmp_path / "g.safetensors", REGISTRY)
