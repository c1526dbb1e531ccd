"""Files whose cells, or all of them, would fill the memory."""

from __future__ import annotations

import gzip
import os
import tracemalloc

import numpy as np
import polars as pl
import pytest

from faults.catalogue import Place, command, library
from vaelab import load
from vaelab.data import open_source
from vaelab.errors import DataError, EnvironmentFault


@command("C27", 3, "sales.csv: line 3 is longer than 16 MB.")
def huge_cell(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", "a,b\n1,2\n3," + "9" * 20_000_000 + "\n")]


@command("C27", 3, "sales.csv: line 3: field larger than field limit (16777216).")
def huge_cell_of_many_lines(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", 'a,b\n1,2\n3,"' + "9\n" * 10_000_000 + '"\n')]


@library("C27")
def a_huge_cell_does_not_fill_the_memory(place: Place) -> None:
    place.write("sales.csv.gz", gzip.compress(b"a,b\n1,2\n3," + bytes([57]) * 2**27, 1))
    tracemalloc.start()
    with pytest.raises(DataError, match="line 3 is longer than 16 MB"):
        open_source(place.folder / "sales.csv.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**25, f"{peak:,} bytes"


@library("C28")
def every_file_that_is_read_whole_is_looked_at_first(place: Place) -> None:
    frame = pl.DataFrame({"a": np.arange(3000.0), "b": np.arange(3000.0) % 7})
    frame.write_csv(place.folder / "t.csv")
    frame.write_parquet(place.folder / "t.parquet")
    np.save(place.folder / "t.npy", frame.to_numpy())
    place.write("t.csv.gz", gzip.compress((place.folder / "t.csv").read_bytes()))
    for name in ("t.csv", "t.parquet", "t.npy", "t.csv.gz"):
        schema = open_source(place.folder / name).schema
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vaelab.data.room.free_bytes", lambda device: 130_000)
            for how in ({"schema": schema}, {"cache": "off"}):
                with pytest.raises(EnvironmentFault, match=f"{name}: read as a whole it needs about 0.[2-5] MB"):
                    open_source(place.folder / name, **how)
            patch.setattr("vaelab.data.room.free_bytes", lambda device: 500_000)
            assert len(open_source(place.folder / name, schema=schema)) == 3000


@library("C28")
def a_table_larger_than_the_memory(place: Place) -> None:
    os.truncate(place.folder / place.write("new.csv", "height,weight,age\n"), 2**42)  # of holes
    with pytest.raises(EnvironmentFault, match=r"about 30786.3 GB of memory; .* GB are free. Give it in parts"):
        load(place.models.table).score(load(place.models.table).data("new.csv")[0])
