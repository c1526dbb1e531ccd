"""Model files: round trips are exact, and what cannot be kept is refused on saving."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from small_parts import (
    REGISTRY,
    Dense,
    Kept,
    Many,
    Mixed,
    Mixture,
    Own,
    OwnPart,
    Pair,
    same,
    small_file,
    trip,
)
from vaelab import files
from vaelab.errors import ModelFileError, UsageError
from vaelab.part import Part, fits


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
    message = r"'model\.first' is of your own class 'Own'.*parts=\{'model\.first': \.\.\.\}\) or parts=\{'Own'"
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
    with pytest.raises(UsageError, match="a module is named"):
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


# ---- damage --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return small_file(tmp_path_factory.mktemp("small") / "m")


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


# ---- golden files --------------------------------------------------------------------------------

GOLDEN = Path(__file__).parent / "golden"


def check_golden(path: Path, registry: dict[str, type], parts: dict[str, object] | None = None) -> None:
    """Check a file of an earlier release: it loads, and its network gives the outputs kept beside it.

    `NAME.safetensors` has NAME.npz beside it with `input` and `output` of the module its meta calls "golden".
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


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        ("int", [0, -3], [1.0, True, "1", None, (1,)]),
        ("float", [0, 1.5], [True, "1", None]),
        ("float | str", [1, "shared"], [None, False, ()]),
        ("int | None", [None, 2], [2.5]),
        ("Sequence[int]", [(), (1, 2), [3]], [1, (1.0,), ("1",), None, (True,)]),
        ("Shape", [3, (3, 4)], [3.0, "3", (None,)]),
        ("tuple[str, ...] | None", [None, ("a",), ()], ["a", (1,)]),
        ("bool", [True], [1]),
        ("Tensor | None", [torch.zeros(1), None], [0.0, nn.Linear(1, 1)]),
        ("nn.Module", [nn.Linear(1, 1)], [torch.zeros(1), None, "relu"]),
        ("Callable[..., Any]", [1, None], []),
        (int, ["whatever is not written as text"], []),
    ],
)
def test_what_fits_an_annotation(annotation: object, good: list[object], bad: list[object]) -> None:
    assert all(fits(value, annotation) for value in good)
    assert not any(fits(value, annotation) for value in bad)
