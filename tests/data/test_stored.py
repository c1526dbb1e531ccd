"""Rows on the disk: the same rows, each once, in random order; whole or not there; a memory that stays flat."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from test_training import equal, state
from vaelab import recipes
from vaelab.data import large_text, open_source, stored
from vaelab.data.stored import Cache, store
from vaelab.errors import DataError, EnvironmentFault
from vaelab.noise import Noise
from vaelab.planning import plan_run
from vaelab.training import ALONE, Ranks, Rows, Settings, optimise, validation_bound
from vaelab.training.rows import batch_sizes

N, D = 997, 3


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sorted table with gaps, whose columns say which row it is; blocks of 100 rows, files of 50."""
    monkeypatch.setattr(stored, "BLOCK", 100 * 8 * D)
    monkeypatch.setattr(stored, "BUCKET", 50 * (8 * D + 8))
    x = np.random.default_rng(0).normal(size=(N, D)) + 2
    x[:, 0] = np.arange(N) / 7
    x[5::50, 1] = np.nan
    x[[3, 500]] = np.nan
    pl.DataFrame({f"c{i}": x[:, i] for i in range(D)}).with_row_index("number").with_columns(
        pl.col("number").cast(pl.Utf8).alias("name")
    ).drop("number").write_parquet(tmp_path / "t.parquet", row_group_size=130)
    return tmp_path / "t.parquet"


def opened(table: Path, cache: str, **how):
    return open_source(table, ids="name", cache=cache, **how)


def test_the_rows_are_those_of_the_file_in_random_order(table: Path) -> None:
    memory, disk = opened(table, "off"), opened(table, str(table.parent / "cache"))
    assert disk.store is not None
    assert memory.store is None
    back = np.argsort(disk.numbers)
    assert disk.numbers[back].tolist() == memory.row_numbers.tolist(), "a row is lost, or there twice"
    assert torch.equal(disk.x[back].nan_to_num(-1), memory.x.nan_to_num(-1))
    assert torch.equal(disk.observed[back], memory.observed)
    assert disk.ids[back].tolist() == memory.ids.tolist()
    assert disk.schema.columns == memory.schema.columns
    assert disk.schema.describe() == memory.schema.describe()
    assert disk.notes[:-1] == memory.notes
    assert "in random order, and read in blocks" in disk.notes[-1]
    rank = np.corrcoef(disk.numbers, np.arange(len(disk)))[0, 1]
    assert abs(rank) < 5 / np.sqrt(len(disk)), "five standard errors of no correlation"
    folders = [p.name for p in disk.store.folder.parent.iterdir()]
    assert folders == [disk.store.folder.name], "scratch files are left"
    before = (disk.store.folder / "rows").stat().st_mtime_ns
    again = opened(table, str(table.parent / "cache"))
    assert again.digest == disk.digest
    assert (again.store.folder / "rows").stat().st_mtime_ns == before, "written twice"
    other = opened(table, str(table.parent / "cache"), drop="c2")
    assert other.store.folder != disk.store.folder


def test_units_are_those_of_the_same_rows_in_memory(table: Path) -> None:
    train, valid = opened(table, str(table.parent / "cache")).split(0.1, seed=3)
    assert train.store is valid.store is not None
    assert len(train) + len(valid) == N - 2
    assert not set(train.numbers.tolist()) & set(valid.numbers.tolist())
    disk = train.fit_scaling()
    memory = train.take(torch.arange(len(train))).fit_scaling()
    assert memory.store is None
    assert torch.allclose(disk.schema.loc, memory.schema.loc, rtol=1e-13)
    assert torch.allclose(disk.schema.scale, memory.schema.scale, rtol=1e-13)
    assert disk.digest == memory.digest


@pytest.mark.parametrize("skip", [0, 1, 99, 100, 250, 880])
@pytest.mark.parametrize("size", [7, 100, 230])
def test_every_row_is_in_one_batch(size: int, skip: int, table: Path) -> None:
    data = opened(table, str(table.parent / "cache")).split(0.1, 0)[0].fit_scaling()
    rows, whole = Rows(data), Rows(data.take(torch.arange(len(data))))

    def epoch(skip: int, ranks: Ranks = ALONE):
        return list(rows.shuffled(size, torch.Generator().manual_seed(4), Noise.seeded(0), skip, ranks))

    batches = epoch(skip)
    assert [len(batch.x) for batch in batches] == batch_sizes(len(data) - skip, size)
    index = torch.cat([batch.index for batch in batches])
    assert torch.equal(index, torch.cat([batch.index for batch in epoch(0)])[skip:])
    if not skip:
        assert index.sort().values.tolist() == list(range(len(data)))
        first = index[:100] // 100
        assert len(first.unique()) == 1, "a block of rows is in memory"
    for batch in batches:
        here = whole.at(batch.index)
        assert torch.equal(batch.x, here.x)
        assert torch.equal(batch.observed, here.observed)
    parts = [epoch(skip, Ranks(rank, 2)) for rank in range(2)]
    for batch, one, two in zip(batches, *parts, strict=True):
        assert torch.equal(torch.cat([part.x for part in (one, two) if not part.share.empty]), batch.x)


def test_training_goes_on_from_the_middle_of_a_block(table: Path, tmp_path: Path) -> None:
    from test_resume import StopsAt

    train, valid = opened(table, str(table.parent / "cache")).split(0.1, 0)
    train = train.fit_scaling()
    valid = valid.with_schema(train.schema)
    small = [Rows(train), Rows(valid)]

    def run(keeper=None):
        torch.manual_seed(0)
        model, objective = recipes.vae((D,), 2, likelihood="gaussian", hidden=(8,))
        settings = Settings(epochs=3, batch_size=17, lr_warmup=5)
        optimise(model, objective, *small, settings, keeper=keeper)
        return model

    expected = run()
    for step in (20, 90):
        run(StopsAt(tmp_path, step))
    got = run(StopsAt(tmp_path, None))
    assert equal(state(got), state(expected))
    in_memory = Rows(valid.take(torch.arange(len(valid))))
    assert validation_bound(got, small[1]) == validation_bound(got, in_memory)


def test_a_run_finds_its_rows_again(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaelab import load
    from vaelab.cli import run

    monkeypatch.chdir(table.parent)
    how = ["--ids", "name", "--epochs", "2", "--hidden", "8", "--latent-dim", "2", "--cache", "cache", "-q"]
    assert run(["train", "t.parquet", *how, "--out", "a"]) == 0
    assert load("a").evaluate(samples=5).rows == 100
    assert plan_run("t.parquet", ids="name", cache="cache").splits.train.store is not None


# ---- text


CELLS = ("a,b,name,,when", '1.5,2,"x, y",0,2024-05-01', "-1,NA,z,1,2024-05-02", '3,4,"two\nlines",2,2024-05-03', "",
         '0.25,7,z,3,2024-06-01')  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_text_is_read_part_by_part(name: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    monkeypatch.setattr(large_text, "PART", 150)
    monkeypatch.setattr("vaelab.data.arrays.PIECE", 64)
    monkeypatch.setattr(stored, "BLOCK", 400)
    lines = [CELLS[0], *(CELLS[1 + i % 5] for i in range(400))]
    text = (end.join(lines) + end).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    how = {"drop": "when,name,column4"} if end == "\n" else {}
    memory = open_source(tmp_path / name, cache="off", **how)
    disk = open_source(tmp_path / name, cache=str(tmp_path / "cache"), **how)
    assert disk.store is not None
    back = np.argsort(disk.numbers)
    assert torch.equal(disk.x[back].nan_to_num(-9), memory.x.nan_to_num(-9))
    assert disk.numbers[back].tolist() == memory.row_numbers.tolist()
    assert disk.schema.describe() == memory.schema.describe()
    assert disk.schema.columns == memory.schema.columns
    assert disk.notes[:-1] == memory.notes
    assert not list((tmp_path / "cache").glob("text.*")), "scratch files are left"


def test_faults_of_text_are_said_with_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_text, "PART", 150)
    monkeypatch.setattr("vaelab.data.arrays.PIECE", 64)
    good = ["a,b,c", *(f"{i},{i + 1},{i + 2}" for i in range(300))]
    for line, words in (
        ("1,2", "row .* has 2 fields, expected 3"),
        ("1,2,3,4", "fields"),
        ("1,two,3", "row 201 holds"),
    ):
        lines = [*good[:201], line, *good[201:]]
        (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
        with pytest.raises(DataError, match=words):
            open_source(tmp_path / "t.csv", cache=str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").iterdir())


# ---- arrays and images


@pytest.mark.parametrize("kind", ["real", "gaps", "integers", "binary", "grey", "colour first", "two grey levels"])
def test_arrays_are_those_of_the_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "BLOCK", 1000)
    monkeypatch.setattr(stored, "BUCKET", 3000)
    draw = np.random.default_rng(0)
    x = {
        "real": draw.normal(size=(301, 4, 3)).astype(np.float32),
        "gaps": np.where(draw.random((301, 5)) < 0.1, np.nan, draw.normal(size=(301, 5))),
        "integers": draw.integers(-3, 9, (301, 5), dtype=np.int16),
        "binary": draw.integers(0, 2, (301, 5)).astype(np.float64),
        "grey": draw.integers(0, 256, (301, 6, 5), dtype=np.uint8),
        "colour first": draw.integers(0, 256, (301, 3, 6, 5), dtype=np.uint8),
        "two grey levels": 255 * draw.integers(0, 2, (301, 6, 5), dtype=np.uint8),
    }[kind]
    np.save(tmp_path / "x.npy", x)
    labels = draw.integers(0, 3, 301)
    memory = open_source(tmp_path / "x.npy", labels=labels, cache="off")
    disk = open_source(tmp_path / "x.npy", labels=labels, cache=str(tmp_path / "cache"))
    assert disk.store is not None
    back = np.argsort(disk.numbers)
    assert torch.equal(disk.x[back].double().nan_to_num(-9), memory.x.double().nan_to_num(-9))
    assert disk.x.dtype == memory.x.dtype
    assert (disk.observed is None) == (memory.observed is None)
    assert disk.labels[back].tolist() == memory.labels.tolist()
    for name in ("layout", "shape", "values", "low", "high"):
        assert getattr(disk.schema, name) == getattr(memory.schema, name), name
    assert disk.notes[:-1] == memory.notes


def test_what_is_no_such_array_is_said_as_ever(tmp_path: Path) -> None:
    x = np.ones((20, 3))
    x[7, 1] = np.inf
    np.save(tmp_path / "x.npy", x)
    for cache in ("off", str(tmp_path / "cache")):
        with pytest.raises(DataError, match=r"row 8 entry \[1\] is inf"):
            open_source(tmp_path / "x.npy", cache=cache)
    for number, bad in enumerate((np.full((20, 3), np.nan), np.arange(20), np.full((2, 3), 2**60))):
        np.save(tmp_path / f"{number}.npy", bad)
        said = []
        for cache in ("off", str(tmp_path / "cache")):
            with pytest.raises(DataError) as error:
                open_source(tmp_path / f"{number}.npy", cache=cache)
            said.append(str(error.value))
        assert said[0] == said[1]


@pytest.mark.parametrize("kind", ["grey", "mixed", "deep"])
def test_images_are_decoded_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setattr(stored, "BLOCK", 1000)
    monkeypatch.setattr(stored, "BUCKET", 1500)
    draw, folder = np.random.default_rng(0), tmp_path / "photos"
    for number in range(40):
        place = folder / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        shape = (6, 5, 3) if kind == "mixed" and number > 9 else (6, 5)
        high = 65535 if kind == "deep" else 255
        pixels = draw.integers(0, high, shape).astype(np.uint16 if kind == "deep" else np.uint8)
        Image.fromarray(pixels).save(place / f"{number:02}.png")
    (folder / "a" / "bad.png").write_bytes(b"no image")
    memory = open_source(folder, skip_bad=True, cache="off")
    disk = open_source(folder, skip_bad=True, cache=str(tmp_path / "cache"))
    back = np.argsort(disk.numbers)
    assert torch.equal(disk.x[back], memory.x)
    assert disk.ids[back].tolist() == memory.ids.tolist()
    assert disk.labels[back].tolist() == memory.labels.tolist()
    assert set(memory.notes) == set(disk.notes) - {disk.store.note}
    assert disk.schema.describe() == memory.schema.describe()

    def refuse(*arguments):
        raise AssertionError("decoded again")

    with monkeypatch.context() as patch:
        patch.setattr("vaelab.data.images.read_image", refuse)
        assert open_source(folder, skip_bad=True, cache=str(tmp_path / "cache")).digest == disk.digest
    rows = Rows(disk)
    batches = list(rows.shuffled(7, torch.Generator().manual_seed(0), Noise.seeded(0)))
    assert torch.cat([batch.index for batch in batches]).sort().values.tolist() == list(range(40))
    assert torch.equal(batches[0].x, Rows(disk.take(batches[0].index)).at(slice(None)).x)
    with pytest.raises(DataError, match="1 of 41 images cannot be read"):
        open_source(folder, cache=str(tmp_path / "cache"))


# ---- writing


def blocks(rows: int = 300, fail: int | None = None):
    def made():
        for start in range(0, rows, 64):
            if fail is not None and start >= fail:
                raise OSError(28, "No space left on device")
            number = np.arange(start, min(rows, start + 64))
            yield np.stack([number, -number], 1).astype(np.float64), number + 1

    return made


def test_a_cache_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path / "cache", 0)
    with pytest.raises(EnvironmentFault, match=r"written: No space left on device. Make room, or use --cache"):
        store(cache, "key", 300, np.float64, (2,), blocks(fail=128))
    assert list(cache.folder.iterdir()) == []
    # a process that was killed leaves a folder behind, which the next one removes
    here = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    left, other = cache.folder / f"key.{here}.999999999.abc", cache.folder / "key.00000000.999999999.abc"
    other.mkdir(parents=True)  # of another machine, which may be at work
    (left / "buckets").mkdir(parents=True)
    made = store(cache, "key", 300, np.float64, (2,), blocks())
    assert sorted(p.name for p in cache.folder.iterdir()) == ["key", other.name]
    assert sorted(made.numbers.tolist()) == list(range(1, 301))
    assert torch.equal(made.x[:, 0], torch.from_numpy(made.numbers - 1).double())


def test_a_crash_after_any_file_operation_leaves_a_whole_cache_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        pass

    real = {name: getattr(os, name) for name in ("fsync", "rename", "replace")}
    for number in itertools.count():
        left = [number]

        def counted(name, left=left):
            def operation(*arguments, **how):
                if left[0] == 0:
                    raise Crash
                left[0] -= 1
                return real[name](*arguments, **how)

            return operation

        cache = Cache(tmp_path / str(number), 0)
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, counted(name))
            try:
                store(cache, "key", 300, np.float64, (2,), blocks())
                done = True
            except Crash:
                done = False
        whole = (cache.folder / "key").exists()
        made = store(cache, "key", 300, np.float64, (2,), blocks(fail=0) if whole else blocks())
        assert sorted(made.numbers.tolist()) == list(range(1, 301))
        if done:
            break
    assert number >= 5


# ---- memory

CHILD = """
import json, sys
from pathlib import Path
import vaelab
plan = vaelab.plan_run(sys.argv[1], cache=sys.argv[2], hidden="16", latent_dim=2, batch_size=5000, epochs=1, threads=1)
plan.run()
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmHWM"].split()[0]) / 1e3
print(json.dumps({"peak": peak, "stored": plan.splits.train.store is not None}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_the_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    """300 MB of rows, and a tenth of them: what they need more is less than a third of what the rows take."""
    peaks = {}
    for name, rows in (("small", 117_000), ("large", 1_170_000)):
        draw = np.random.default_rng(0)
        path = tmp_path / f"{name}.parquet"
        pl.DataFrame({f"c{i}": draw.normal(size=rows) for i in range(32)}).write_parquet(path)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(path), str(tmp_path / "cache")],
            capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["stored"]
        peaks[name] = said["peak"]
    assert peaks["large"] - peaks["small"] < 100, peaks
