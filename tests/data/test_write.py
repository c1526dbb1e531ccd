"""Rows written and read again."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from vaelab.data import Schema, open_source, write_rows
from vaelab.errors import EnvironmentFault, UsageError

TABLE = "a,country,fax,yes,b\n1,7,,true,2.25\n-3,7,,false,1e-300\n4,7,,true,0.1\n"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_come_back_with_their_columns_and_types(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    data = open_source(tmp_path / "t.csv")
    out = tmp_path / f"out{suffix}"
    write_rows(out, data.x, data.schema)
    frame = pl.read_csv(out) if suffix == ".csv" else pl.read_parquet(out)
    assert frame.columns == ["a", "country", "fax", "yes", "b"]
    assert frame["a"].dtype == pl.Int64
    assert frame["yes"].to_list() == [True, False, True]
    assert frame["country"].to_list() == [7, 7, 7]
    assert frame["fax"].null_count() == 3
    again = open_source(out, schema=data.schema)
    assert torch.equal(again.x, data.x)


def test_means_are_not_rounded_and_ids_come_first(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    schema = open_source(tmp_path / "t.csv").schema
    write_rows(tmp_path / "m.csv", torch.tensor([[1.4, 0.7, 3.0]]), schema, beside={"id": np.array([12])}, means=True)
    assert (tmp_path / "m.csv").read_text().splitlines()[0] == "id,a,country,fax,yes,b"
    row = pl.read_csv(tmp_path / "m.csv").row(0)
    assert row[:3] == (12, pytest.approx(1.4), 7)
    write_rows(tmp_path / "s.csv", torch.tensor([[1.4, 0.7, 3.0]]), schema)
    assert pl.read_csv(tmp_path / "s.csv")["a"].to_list() == [1]


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_arrays_come_back(tmp_path: Path, suffix: str) -> None:
    for x in (np.random.default_rng(0).normal(size=(5, 3, 2)), open_source("digits").x[:7].numpy()):
        data = open_source(x)
        write_rows(tmp_path / f"x{suffix}", data.x, data.schema, force=True)
        again = open_source(tmp_path / f"x{suffix}")
        assert torch.equal(again.x, data.x)
        assert again.x.dtype == data.x.dtype


def test_a_folder_of_images_comes_back(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (11, 6, 8, 3), dtype=np.uint8)
    data = open_source(colour)
    write_rows(tmp_path / "out", data.x, data.schema)
    assert sorted(p.name for p in (tmp_path / "out").iterdir())[:2] == ["00.png", "01.png"]
    assert torch.equal(open_source(tmp_path / "out").x, data.x)
    bits = open_source(colour[..., 0] % 2)
    write_rows(tmp_path / "bits", bits.x, bits.schema)
    assert torch.equal(open_source(tmp_path / "bits", schema=bits.schema).x, bits.x)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    write_rows(tmp_path / "out", data.x[:2], data.schema, force=True)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "notes.txt"]


def test_a_grid_shows_every_image_enlarged(tmp_path: Path) -> None:
    digits = open_source("digits")
    write_rows(tmp_path / "g.png", digits.x[:9], digits.schema)
    sheet = np.asarray(Image.open(tmp_path / "g.png"))
    assert sheet.shape == (3 * 58 + 2, 3 * 58 + 2)
    # the middle of every enlarged pixel of the fifth image, whose grid 0..16 becomes 0..255
    middle = sheet[2 + 58 : 58 + 58, 2 + 58 : 58 + 58][3::7, 3::7]
    assert np.array_equal(middle, np.rint(digits.x[4].double().numpy() * 255 / 16).astype(np.uint8))


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    digits = open_source("digits")
    table = Schema(name="t", layout="table", shape=(1,), values="real", columns=("a",))
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(UsageError, match=r"^out\.csv exists\. Use --force to replace it\.$"):
        write_rows(tmp_path / "out.csv", digits.x, digits.schema)
    assert (tmp_path / "out.csv").read_text() == "old"
    with pytest.raises(UsageError, match="make no images"):
        write_rows(tmp_path / "t.png", torch.zeros(2, 1), table)
    with pytest.raises(UsageError, match="unknown kind of output"):
        write_rows(tmp_path / "t.xlsx", torch.zeros(2, 1), table)
    with pytest.raises(EnvironmentFault, match="no such folder"):
        write_rows(tmp_path / "none" / "t.csv", torch.zeros(2, 1), table)
