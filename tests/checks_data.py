"""Exact checks of what is read: the numbers, names and numbers of rows that stand in a file, and no others."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
import torch

from exact import check
from vaelab.data import Schema, open_source, write_rows
from vaelab.data.reading import Reading
from vaelab.data.write import as_csv
from vaelab.errors import DataError, UsageError


@check
def new_tables_are_read_as_the_models_were() -> None:
    """Columns by name, decimal commas and own words for a missing value, without being told again."""
    with tempfile.TemporaryDirectory() as name:
        old, new = Path(name) / "old.csv", Path(name) / "new.csv"
        old.write_text("a;b\n1,5;2\n-;4\n3,25;5\n")
        new.write_text("b;a\n7;0,125\n8;-\n")
        trained = open_source(old, decimal=",", missing=("-",)).fit_scaling()
        schema = Schema(**trained.schema.arguments())
        read = open_source(new, schema=schema)
        assert read.x.nan_to_num(-1).tolist() == [[0.125, 7.0], [-1.0, 8.0]]
        assert read.observed is not None
        assert read.observed.tolist() == [[True, True], [False, True]]


@check
def what_a_model_writes_it_reads() -> None:
    """The same numbers and words in the table's own form, in one block or several; what it cannot hold is refused."""
    lines = ["1,5;été;2", "-0,25;nord;4", "1e-9;été;7", "7,125;nord;8"]
    for how in ({"decimal": ","}, {"decimal": ",", "encoding": "latin-1"}, {"decimal": ",", "encoding": "utf-16"},
                {"decimal": ",", "header": "no"}, {"sep": "|"}, {"sep": "tab", "header": "yes"}, {}):  # fmt: skip
        decimal, sep = how.get("decimal", "."), {"tab": "\t"}.get(how.get("sep", ""), how.get("sep", ";"))
        text = "\n".join(lines if how.get("header") == "no" else ["a;word;b", *lines]) + "\n"
        with tempfile.TemporaryDirectory() as name:
            old, new = Path(name) / "old.csv", Path(name) / "new.csv"
            old.write_bytes(text.replace(",", decimal).replace(";", sep).encode(how.get("encoding", "utf-8")))
            data = open_source(old, column=("*:auto",), **how)
            schema = Schema(**data.schema.arguments())
            for rows in (data.x, data.x.split(3)):
                write_rows(new, rows, schema, n=4, means=True, force=True)
                again = open_source(new, schema=schema)
                assert again.x.tolist() == data.x.tolist(), f"{how}: {again.x.tolist()}"
    try:
        list(as_csv([pl.DataFrame({"a": ["été"]})], Reading(encoding="ascii")))
    except UsageError:
        return
    raise AssertionError("words that the encoding does not know were written")


@check
def rows_keep_their_names_and_numbers() -> None:
    """A row left out, a choice of rows, a split: names (beyond 2^53 as well) and numbers stay with their rows."""
    first = 2**53 + 1
    lines = [f"{first + i},{'' if i == 3 else i * i}" for i in range(30)]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "t.csv"
        path.write_text("\n".join(["order,a", *lines]) + "\n")
        for data in (open_source(path), open_source(path, ids="order")):
            assert len(data) == 29
            for part in data.split(0.3, seed=1):
                assert part is not None
                assert part.ids is not None
                i = part.x[:, 0].sqrt().round().long()
                assert part.ids.tolist() == (first + i).tolist()
                assert part.numbers is not None
                assert part.numbers.tolist() == (i + 1).tolist()
    wrong = data.take([4, 20])
    wrong.x[1, 0] = 1e30
    said = ""
    try:
        wrong.checked()
    except DataError as error:
        said = str(error)
    assert "row 22 is 1e+30" in said, said or "a value beyond float32 was taken"


@check
def a_fitted_image_stays_within_its_bits() -> None:
    """Smoothing overshoots at an edge: 16-bit images are cut at the ends of their grid."""
    import numpy as np
    from PIL import Image

    edge = np.zeros((8, 8), dtype=np.uint16)
    edge[:, 4:] = 65535
    with tempfile.TemporaryDirectory() as name:
        Image.fromarray(edge).save(Path(name) / "edge.png")
        for fit in ("stretch", "crop", "pad"):
            x = open_source(name, size="20x20", fit=fit).x
            assert x.dtype == torch.int32
            assert (int(x.min()), int(x.max())) == (0, 65535), fit
