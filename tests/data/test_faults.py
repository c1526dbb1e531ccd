"""Bad input, one row each: what is in the file, the options, the words of the message."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from vaelab.data import Schema, open_source
from vaelab.errors import DataError, UsageError

Options = dict[str, Any]

TEXT_FAULTS: list[tuple[str, str | bytes, Options, type, str]] = [
    ("empty", "", {}, DataError, "t.csv is empty."),
    ("header only", "a,b\n", {}, DataError, "t.csv has a header but no rows."),
    (
        "cp1252",
        b"a,b\n1,2\n3,\x974\n",
        {},
        DataError,
        "not UTF-8: byte 0x97 at line 3. It looks like cp1252; try --encoding cp1252",
    ),
    ("utf-16", "a,b\n1,2\n".encode("utf-16"), {}, DataError, "is UTF-16. Try --encoding utf-16."),
    ("binary", b"\x89PNG\x00\x00\xff", {}, DataError, "is not a text table: byte 0x89 at line 1"),
    ("nul", "a,b\n1,2\n3,\x004\n", {}, DataError, "NUL byte at line 3"),
    ("encoding", "a,b\n1,2\n", {"encoding": "utf8000"}, UsageError, "unknown encoding 'utf8000'"),
    ("long row", "a,b\n1,2\n1,2,3\n", {}, DataError, "row 2 has 3 fields, expected 2."),
    ("short row", "a,b,c\n1,2,3\n1,2\n5,6,7\n", {}, DataError, "row 2 has 2 fields, expected 3."),
    ("short row, no header", "1,2,3\n1,2\n5,6,7\n", {}, DataError, "row 2 has 2 fields, expected 3."),
    ("open quote", 'a,b\n1,2\n3,"4\n5,6\n', {}, DataError, "Is a quote left open?"),
    (
        "twice",
        "age,b,age\n1,2,3\n",
        {},
        DataError,
        'column name "age" appears twice (columns 1 and 3). Rename one.',
    ),
    ("decimal commas", "price;b\n3,5;1\n4,25;2\n", {}, DataError, 'column "price" has 2 values like "3,5"'),
    (
        "stray word",
        "age,b\n1,2\n2,3\nunknown,4\n",
        {},
        DataError,
        'column "age" is numeric but row 3 holds "unknown" (1 such row). Add --missing unknown',
    ),
    (
        "text",
        "name,b\nBob,2\nEve,3\n",
        {"column": ("name:real",)},
        DataError,
        'column "name" holds text: row 1 is "Bob", where a number was expected.',
    ),
    ("escape", "a,b\n1,2\n2,3\n\x1b[31mred,4\n", {}, DataError, r'row 3 holds "\x1b[31mred"'),
    ("long value", "a,b\n1,2\n2,3\n" + "x" * 500 + ",4\n", {}, DataError, '"' + "x" * 39 + '…"'),
    ("inf", "a,ratio\n1,2\n2,-inf\n", {}, DataError, 'column "ratio" row 2 is -inf.'),
    ("overflow", "a,ratio\n1,2\n2,1e999\n", {}, DataError, 'column "ratio" row 2 is inf.'),
    (
        "lone large integer",
        "a,b\n1,2\n2,3\n9007199254740993,4\n",
        {},
        DataError,
        'column "a" row 3 holds 9007199254740993, an integer beyond 2^53, which a float would round.',
    ),
    ("all constant", "a,b\n1,2\n1,2\n", {}, DataError, "every column is constant, empty or a name of rows"),
    (
        "unknown column",
        "age,b\n1,2\n",
        {"drop": "agee"},
        UsageError,
        '--drop: no column "agee". Did you mean age?',
    ),
    (
        "column range",
        "a,b\n1,2\n",
        {"columns": "1-3"},
        UsageError,
        "--columns 1-3: there are columns 1 to 2.",
    ),
    ("nothing left", "a,b\n1,2\n", {"drop": "1-2"}, UsageError, "no column is left to model"),
    (
        "labels",
        "age,b\n1,2\n",
        {"labels": "ages"},
        UsageError,
        '--labels: no column "ages". Did you mean age?',
    ),
    ("separator", "a,b\n1,2\n", {"sep": "::"}, UsageError, "expected one character"),
    ("header", "a,b\n1,2\n", {"header": "maybe"}, UsageError, "expected auto, yes or no"),
    (
        "size",
        "a,b\n1,2\n",
        {"size": "8x8"},
        UsageError,
        "--size applies to folders of images, not to tables.",
    ),
    ("binarize", "a,b\n1,2\n3,4\n", {"binarize": "stochastic"}, UsageError, "not grey values"),
]


@pytest.mark.parametrize(
    ("content", "options", "error", "words"), [f[1:] for f in TEXT_FAULTS], ids=[f[0] for f in TEXT_FAULTS]
)
def test_text_faults(tmp_path: Path, content: str | bytes, options: Options, error: type, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(error) as caught:
        open_source(path, **options)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()  # one line, no control characters


ARRAY_FAULTS: list[tuple[str, Any, type, str]] = [
    ("inf", np.array([[1.0, 2.0], [np.inf, 3.0]]), DataError, "row 2 entry [0] is inf"),
    ("text", np.array([["a", "b"]]), DataError, "is not numbers"),
    ("one dimension", np.arange(5), DataError, "has no rows"),
    ("no rows", np.zeros((0, 3)), DataError, "has no rows"),
    ("all missing", np.full((3, 2), np.nan), DataError, "every value is missing"),
    ("large integers", np.array([[1, 2**60]]), DataError, "above 2^53"),
    ("sparse", csr_array(np.eye(3)), UsageError, "pass source.toarray()"),
    ("no source", 7, UsageError, "a source of type int is not known"),
]


@pytest.mark.parametrize(("source", "error", "words"), [f[1:] for f in ARRAY_FAULTS], ids=[f[0] for f in ARRAY_FAULTS])
def test_array_faults(source: Any, error: type, words: str) -> None:
    with pytest.raises(error) as caught:
        open_source(source)
    assert words in str(caught.value)


def test_file_faults(tmp_path: Path) -> None:
    def refused(name: str, content: bytes, words: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError) as caught:
            open_source(tmp_path / name)
        assert words in str(caught.value)

    refused("cut.csv.gz", gzip.compress(b"a,b\n1,2\n" * 100)[:-9], "its gzip stream is cut or altered")
    refused("a.idx", b"\0\0\x08\x03\0\0\0\2\0\0\0\2\0\0\0\2abc", "its header announces 24 bytes, it has 19")
    refused("b.idx", b"GIF89a", "is not an IDX file: it begins with 47 49 46 38")
    refused("c.npy", b"nothing", "cannot be read as .npy")
    refused("d.npz", b"nothing", "cannot be read as .npz")
    refused("e.parquet", b"nothing", "cannot be read as parquet")
    refused("f.docx", b"nothing", "unknown kind of file")
    with pytest.raises(DataError, match=r"no such file: .*sales\.csv\. Check the path\."):
        open_source(tmp_path / "sales.csv")
    with pytest.raises(DataError, match="Did you mean digits"):
        open_source("digit")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "o.npz", x=np.array([{"a": 1}], dtype=object))
    for name in ("o.npy", "o.npz"):
        with pytest.raises(DataError, match="allow_pickle=False"):
            open_source(tmp_path / name)


def test_an_ambiguous_npz_lists_its_keys(tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", p=np.ones((5, 2)) * 0.5, q=np.ones((5, 3)) * 0.5, r=np.ones(5))
    with pytest.raises(DataError, match=r"It has: p \(5, 2\), q \(5, 3\), r \(5,\)\. Write z\.npz:KEY"):
        open_source(tmp_path / "z.npz")
    assert open_source(f"{tmp_path}/z.npz:q").x.shape == (5, 3)
    with pytest.raises(DataError, match="has no array 'nope'"):
        open_source(f"{tmp_path}/z.npz:nope")


BINARY = Schema(name="t", layout="array", shape=(2,), values="binary", low=0, high=1)
GRID = Schema(name="t", layout="array", shape=(2,), values="integer", low=0, high=16)


@pytest.mark.parametrize(
    ("schema", "rows", "words"),
    [
        (BINARY, [[0, 1], [0.5, 1]], "entry [0] row 2 is 0.5, expected 0 or 1 (1 such value)"),
        (GRID, [[0, 1], [3, 17]], "entry [1] row 2 is 17, expected an integer from 0 to 16"),
        (GRID, [[0, 1], [3.7, 1]], "entry [0] row 2 is 3.7, expected an integer"),
        (GRID, [[0, 1, 2]], "rows have shape (3,), the model was trained on (2,)"),
    ],
)
def test_new_data_outside_the_support_are_refused(schema: Schema, rows: list[list[float]], words: str) -> None:
    with pytest.raises(DataError) as caught:
        open_source(torch.tensor(rows), schema=schema)
    assert words in str(caught.value)
