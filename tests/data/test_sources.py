"""What is read from good files and objects, and what is said about it."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from vaelab.data import Dataset, open_source
from vaelab.errors import DataError


def read(folder: Path, content: str, name: str = "t.csv", **options: Any) -> Dataset:
    raw = content.encode(options.get("encoding", "utf-8"))
    (folder / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return open_source(folder / name, **options)


def said(data: Dataset, words: str) -> bool:
    return any(words in note for note in data.notes)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_delimiters_are_found(tmp_path: Path, separator: str) -> None:
    data = read(tmp_path, "a,b,c\n1,2.5,3\n4,5e1,-6\n".replace(",", separator))
    assert data.x.tolist() == [[1, 2.5, 3], [4, 50, -6]]
    assert data.schema.columns == ("a", "b", "c")
    assert said(data, "delimiter") == (separator != ",")


def test_bom_crlf_quotes_spaces_and_encodings(tmp_path: Path) -> None:
    assert read(tmp_path, '\ufeff"a x", b\r\n"1", 2\r\n3,4\r\n').schema.columns == ("a x", "b")
    assert read(tmp_path, "a,b\r1,2\r3,4\r").x.tolist() == [[1, 2], [3, 4]]
    assert read(tmp_path, "größe,b\n1,2\n3,4\n", encoding="cp1252").schema.columns == ("größe", "b")
    assert read(tmp_path, "a,b\n1,2\n3,4\n", name="u.csv.gz", encoding="utf-16").x.tolist() == [
        [1, 2],
        [3, 4],
    ]


def test_headers(tmp_path: Path) -> None:
    bare = read(tmp_path, "1,2\n3,4\n")
    assert bare.schema.columns == ("column1", "column2")
    assert said(bare, "no header line")
    assert len(read(tmp_path, "2019,2020\n3,4\n5,6\n", header="yes")) == 2
    assert len(read(tmp_path, "1,NA\n3,4\n5,6\n")) == 3
    assert said(read(tmp_path, "39,State\n3,4\n5,6\n"), "yet holds 39; --header no makes it a row")
    index = read(tmp_path, ",a\n0,5\n1,6\n2,9\n")
    assert index.schema.columns == ("a",)
    assert said(index, "left out as an index")


def test_missing_cells_are_marked_and_counted(tmp_path: Path) -> None:
    data = read(tmp_path, "a,b\n1,NA\n,5\n?,\n3,6\n", missing=("NA", "?", "n.a."))
    assert data.observed.tolist() == [[True, False], [False, True], [True, True]]
    assert said(data, "4 missing values: a 2, b 2.")
    assert said(data, "1 row without any value to model, left out.")
    assert data.row_numbers.tolist() == [1, 2, 4]
    assert data.x[~data.observed].isnan().all()
    whole = open_source(tmp_path / "t.csv", missing=("NA", "?", "n.a."), schema=data.schema)
    assert len(whole) == 4  # new data keep their rows
    assert not whole.observed[2].any()


def test_constant_and_empty_columns_are_set_apart(tmp_path: Path) -> None:
    data = read(tmp_path, "a,country,fax,b\n1,7,,2\n3,7,,5\n4,7,,4.5\n")
    assert data.schema.columns == ("a", "b")
    assert data.schema.constants == (("country", 7.0),)
    assert data.schema.order == ("a", "country", "fax", "b")
    assert data.schema.dtypes == ("Int64", "Int64", "Int64", "Float64")
    assert said(data, 'column "country" is constant (7); stored, not modelled.')
    assert said(data, 'column "fax" has no values; left out.')


def test_columns_are_picked_by_name_and_position(tmp_path: Path) -> None:
    text = "a,b,c,quality\n1,2,3,x\n4,5,6,y\n"
    assert read(tmp_path, text, columns="c,1").schema.columns == ("a", "c")
    assert read(tmp_path, text, drop="2-3,quality").schema.columns == ("a",)
    assert read(tmp_path, text, columns=["b"]).schema.columns == ("b",)
    labelled = read(tmp_path, text, labels="quality")
    assert labelled.schema.columns == ("a", "b", "c")
    assert labelled.labels.tolist() == ["x", "y"]
    assert read(tmp_path, text, labels="c", drop="quality").labels.tolist() == [3, 6]


def test_column_order_does_not_matter_bit_for_bit(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 3)) * [1, 1e3, 1e-3]
    frame = pl.DataFrame(x, schema=["a", "b", "c"])
    frame.write_csv(tmp_path / "train.csv")
    frame.select("c", pl.lit(1.0).alias("extra"), "a", "b").write_csv(tmp_path / "new.csv")
    train = open_source(tmp_path / "train.csv").fit_scaling()
    new = open_source(tmp_path / "new.csv", schema=train.schema)
    assert torch.equal(new.schema.encode(new.x), train.schema.encode(train.x))
    assert np.array_equal(new.x.numpy(), x)
    assert said(new, "1 column unknown to the model, ignored: extra.")
    with pytest.raises(DataError, match=r'column "b" was used in training but is not there\. Did you mean bb\?'):
        open_source(frame.rename({"b": "bb"}), schema=train.schema)


def test_booleans_and_zero_one_tables_are_binary(tmp_path: Path) -> None:
    data = read(tmp_path, "a,b\nTrue,0\nfalse,1\n")
    assert (data.schema.values, data.schema.dtypes) == ("binary", ("Boolean", "Int64"))
    assert data.x.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("library", ["polars", "pandas", "pyarrow"])
def test_frames_of_every_library(library: str) -> None:
    columns = {"a": [1, 2, 3], "b": [0.5, None, 2.5]}
    frame = pytest.importorskip("pyarrow").table(columns) if library == "pyarrow" else None
    if frame is None:
        frame = pytest.importorskip(library).DataFrame(columns)
    data = open_source(frame)
    assert data.schema.dtypes == ("Int64", "Float64")
    assert data.observed.tolist() == [[True, True], [True, False], [True, True]]
    assert data.x[:, 0].tolist() == [1, 2, 3]


def test_arrays_say_what_they_are() -> None:
    generator = np.random.default_rng(0)
    grey = open_source(generator.integers(0, 255, (12, 5, 4), dtype=np.uint8))
    assert (grey.schema.layout, grey.schema.values, grey.x.dtype) == ("image", "integer", torch.uint8)
    assert said(grey, "read as grey images")
    counts = open_source(generator.integers(-3, 9, (50, 6)))
    assert (counts.schema.values, counts.schema.low, counts.schema.high) == ("integer", -3, 8)
    assert open_source(generator.integers(0, 5000, (50, 6))).schema.values == "real"
    assert open_source(torch.eye(4)).schema.values == "binary"
    assert open_source(generator.normal(size=(4, 3, 2))).schema.describe() == "real arrays of shape (3, 2)"
    holes = generator.normal(size=(4, 3))
    holes[1, 2] = np.nan
    assert open_source(holes).observed.sum() == 11


def test_array_files_and_torch_data_sets(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(15, 4))
    labels = np.arange(15)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x_train=x, y_train=labels, x_test=x[:6] + 1, y_test=labels[:6])
    assert np.array_equal(open_source(tmp_path / "x.npy", labels=labels).x, x)
    data = open_source(tmp_path / "x.npz")
    assert np.array_equal(data.labels, labels)
    assert np.array_equal(data.test.x, x[:6] + 1)
    assert np.array_equal(data.test.labels, labels[:6])
    assert data.fit_scaling().test.schema is not data.schema  # the test part follows the fitted units
    pairs = torch.utils.data.TensorDataset(torch.as_tensor(x), torch.as_tensor(labels))
    assert np.array_equal(open_source(pairs).x, x)
    assert np.array_equal(open_source(pairs).labels, labels)
