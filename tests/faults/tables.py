"""Tables that cannot be read, and tables that can although they look odd."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import torch

from faults.catalogue import QUICK, Check, Place, command
from vaelab import Run, load
from vaelab.cli import run
from vaelab.data import open_source

DRY = ("--dry-run", "--epochs", "1", "--hidden", "4")
TRAIN = (*QUICK, "--out", "run")
LOUD = tuple(option for option in TRAIN if option != "-q")


def rows(second: Callable[[int], object], separator: str = ",", header: str = "a,b", number: int = 30) -> str:
    """Return a table of two columns: squares modulo 31, and what is asked for."""
    lines = [f"{i * i % 31}{separator}{second(i)}" for i in range(number)]
    return "\n".join([header.replace(",", separator), *lines]) + "\n"


def trained(check: Callable[[Run, Place], None]) -> Check:
    """Return a check of the run that a command has made, whose model must be finite."""

    def of(place: Place, out: str, err: str) -> None:
        made = load(place.folder / "run")
        assert all(bool(torch.isfinite(value).all()) for value in made.model.state_dict().values())
        check(made, place)

    return of


def written(place: Place, *arguments: str) -> pl.DataFrame:
    """Return the table that another command writes."""
    assert run([*arguments, "-o", "more.csv"]) == 0
    return pl.read_csv(place.folder / "more.csv", infer_schema_length=None)


@command("C1", 3, "no such file", "sales.csv")
def missing_file(place: Place) -> list[str]:
    return ["train", "sales.csv"]


@command("C2", 3, "sales.csv is empty.")
def empty_file(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", "")]


@command("C2", 3, "sales.csv has a header but no rows.")
def header_only(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", "a,b\n")]


@command("C3", 3, "1 sample is too few to train (need at least 10; got 1).")
def one_row(place: Place) -> list[str]:
    return ["train", place.write("one.csv", "a,b\n1,2\n")]


def one_line(place: Place, out: str, err: str) -> None:
    assert len(out.splitlines()) == 2, "a header and one row"


@command("C3", 0, check=one_line)
def one_row_to_encode(place: Place) -> list[str]:
    return ["encode", str(place.models.table), place.write("one.csv", "height,weight,age\n160.5,60,30\n")]


@command("C3", 0, check=one_line)
def one_row_to_score(place: Place) -> list[str]:
    return ["score", str(place.models.table), place.write("one.csv", "height,weight,age\n160.5,60,30\n"), "-q"]


@command("C3", 0)
def one_row_to_judge(place: Place) -> list[str]:
    source = place.write("one.csv", "height,weight,age\n160.5,60,30\n")
    return ["evaluate", str(place.models.table), source, "--samples", "5", "-q"]


@command("C4", 3, "sales.csv is not UTF-8: byte 0x97 at line 12.", "cp1252; try --encoding cp1252.")
def cp1252(place: Place) -> list[str]:
    lines = rows(lambda i: i).split("\n")
    lines[11] += ";\x97"
    return ["train", place.write("sales.csv", "\n".join(lines).encode("latin-1"))]


@command("C5", 0, check=trained(lambda made, place: check_columns(made, "a", "b")))
def byte_order_mark(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", "\ufeff" + rows(lambda i: i % 7)), *TRAIN]


def check_columns(made: Run, *names: str) -> None:
    assert made.schema.columns == names


@command("C6", 3, "sales.csv is UTF-16. Try --encoding utf-16.")
def utf16(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: i).encode("utf-16"))]


@command("C6", 3, "sales.csv is not a text table: byte 0x89 at line 1.")
def binary(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0")]


@command("C7", 3, "row 812 has 9 fields, expected 8.")
def ragged_row(place: Place) -> list[str]:
    full = ",".join("1234567.")
    lines = [full + (",9" if i == 812 else "") for i in range(1, 1000)]
    return ["train", place.write("sales.csv", "\n".join(["a,b,c,d,e,f,g,h", *lines]))]


@command("C7", 3, "row 7 has 1 field, expected 2.")
def short_row(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: i).replace(f"{6 * 6 % 31},6\n", "5\n"))]


@command("C8", 0, 'delimiter ";" detected; override with --sep.', "2 real columns (a, b)")
def semicolons(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: i % 7, ";")), *DRY]


@command("C8", 0, 'delimiter "\\t" detected; override with --sep.', "2 real columns (a, b)")
def tabs(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: i % 7, "\t")), *DRY]


@command("C8", 0, "2 real columns (a, b;c)")
def separator_given(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: i % 7, "|", "a,b;c")), "--sep", "|", *DRY]


@command("C9", 3, 'column name "age" appears twice (columns 1 and 3). Rename one.')
def two_columns_of_one_name(place: Place) -> list[str]:
    return ["train", place.table("sales.csv", "age,b,age", lambda i: f"{i},2,3")]


@command("C10", 0, "column 2 has no name; called column2.", "2 real columns (a, column2)")
def unnamed_column(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: i % 7, header="a,")), *DRY]


@command("C10", 0, "the first column has no name and counts the rows; left out as an index.", "1 real column (b)")
def index_column(place: Place) -> list[str]:
    return ["train", place.table("sales.csv", ",b", lambda i: f"{i},{i * i % 7}"), *DRY]


@command("C11", 3, 'sales.csv: column "price" has 30 values like "0,5" (row 1); use --decimal ,')
def decimal_commas(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: f"{i % 7},5", ";", "a,price"))]


@command("C11", 3, 'sales.csv: column "price" has 26 values like "1,5" (row 2); use --decimal ,')
def decimal_commas_and_a_word(place: Place) -> list[str]:
    """A word for what is missing among them does not make the column one of words."""
    return ["train", place.write("sales.csv", rows(lambda i: f"{i % 7},5" if i % 8 else "n/a", ";", "a,price"))]


def check_decimals(made: Run, place: Place) -> None:
    new = "".join(f"{i};{i % 5},25\n" for i in range(4))
    place.write("new.csv", "a;price\n" + new + "unknown;1,5\n")
    codes = written(place, "encode", "run", "new.csv")
    frame = pl.DataFrame({"a": [0, 1, 2, 3, None], "price": [0.25, 1.25, 2.25, 3.25, 1.5]})
    assert np.array_equal(codes[["z0", "z1"]].to_numpy(), made.encode(frame).mean.numpy())


@command("C11", 0, check=trained(check_decimals))
def decimal_commas_read(place: Place) -> list[str]:
    """New data are read as the model's were, also the words for a missing value."""
    source = place.write("sales.csv", rows(lambda i: f"{i % 7},5", ";", "a,price"))
    return ["train", source, "--decimal", ",", "--missing", "unknown,-", *TRAIN]


@command("C11", 3, '30 values like "1,000.5" (row 1). Take the thousands separators out.')
def thousands(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: f'"{i + 1},000.5"'))]


@command("C11", 3, '30 values like "1.000,5" (row 1). Take the thousands separators out.')
def thousands_beside_decimal_commas(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: f"{i + 1}.000,5", ";")), "--decimal", ","]


@command("C12", 0, "15 missing values: b 15.", "27 train, 3 validation")
def missing_words(place: Place) -> list[str]:
    words = ["NA", "?", "", "NaN", "unknown"]
    source = place.write("sales.csv", rows(lambda i: words[i // 2 % 5] if i % 2 else f"{i % 7}.5"))
    return ["train", source, "--missing", "unknown", *DRY]


def check_empty(made: Run, place: Place) -> None:
    made = written(place, "generate", "run", "-n", "5")
    assert made.columns == ["a", "fax", "b"]
    assert made["fax"].null_count() == 5


@command("C13", 0, 'column "fax" has no values; left out.', check=trained(check_empty))
def column_without_values(place: Place) -> list[str]:
    source = place.table("sales.csv", "a,fax,b", lambda i: f"{i * i % 31},,{i % 7}")
    return ["train", source, *LOUD]


@command("C14", 0, "2 rows without any value to model, left out.", "25 train, 3 validation")
def rows_without_values(place: Place) -> list[str]:
    text = rows(lambda i: i % 7).replace("\n0,0\n", "\n,\n").replace("\n1,1\n", "\nNA,?\n")
    return ["train", place.write("sales.csv", text), *DRY]


def check_five_rows(place: Place, out: str, err: str) -> None:
    codes = pl.read_csv(out.encode())
    assert len(codes) == 5
    assert np.isfinite(codes.to_numpy()).all()


@command("C14", 0, "note: 3 missing values: height 1, weight 1, age 1.", check=check_five_rows)
def rows_without_values_are_kept(place: Place) -> list[str]:
    lines = [",,", *(f"{160 + i},60,30" for i in range(4))]
    return ["encode", str(place.models.table), place.write("new.csv", "\n".join(["height,weight,age", *lines]))]


def check_constants(made: Run, place: Place) -> None:
    text = (place.folder / "sales.csv").read_text().splitlines()[1].split(",")
    assert run(["generate", "run", "-n", "3", "-o", "more.csv"]) == 0
    lines = (place.folder / "more.csv").read_text().splitlines()
    assert lines[0] == "a,country,rate,b"
    assert all(line.split(",")[1:3] == text[1:3] for line in lines[1:])


@command("C15", 0, 'column "country" is constant ("NO"); stored, not modelled.', check=trained(check_constants))
def constant_columns(place: Place) -> list[str]:
    source = place.table("sales.csv", "a,country,rate,b", lambda i: f"{i * i % 31},NO,0.30000000000000004,{i % 7}")
    return ["train", source, *LOUD]


def check_floor(made: Run, place: Place) -> None:
    encoded = made.schema.encode(open_source(place.folder / "sales.csv", schema=made.schema).x)
    assert torch.isfinite(encoded).all()
    assert float(encoded[:, 1].abs().max()) < 1e3


@command("C16", 0, 'column "b" is constant but for one training row.', check=trained(check_floor))
def constant_but_for_one_row(place: Place) -> list[str]:
    source = place.write("sales.csv", rows(lambda i: 8 if i == 17 else 7))
    return ["train", source, *LOUD, "--validation", "0"]


@command("C17", 3, 'sales.csv: column "ratio" row 21 is inf. Replace it or use --inf-as-missing.')
def infinity(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: "inf" if i == 20 else i % 7, header="a,ratio"))]


def check_infinity(made: Run, place: Place) -> None:
    new = place.write("new.csv", "a,ratio\n1,-inf\n2,3\n")
    codes = written(place, "encode", "run", new)
    frame = pl.DataFrame({"a": [1, 2], "ratio": [None, 3.0]})
    assert np.array_equal(codes[["z0", "z1"]].to_numpy(), made.encode(frame).mean.numpy())


@command("C17", 0, "1 missing value: ratio 1.", check=trained(check_infinity))
def infinity_as_missing(place: Place) -> list[str]:
    source = place.write("sales.csv", rows(lambda i: "inf" if i == 20 else i % 7, header="a,ratio"))
    return ["train", source, "--inf-as-missing", *LOUD]


@command("C18", 3, 'new.csv: column "age" row 2 is 1e+39, beyond float32 in model units')
def beyond_float32(place: Place) -> list[str]:
    new = place.write("new.csv", "height,weight,age\n160,60,30\n160,60,1e39\n")
    return ["score", str(place.models.table), new, "-o", "scores.csv"]


@command("C18", 3, 'column "b" holds 1e+300, too large to square in float64.')
def beyond_float64(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: "1e300" if i == 20 else i % 7)), "--validation", "0"]


LARGE = [str(2**53 + 1 + i) for i in range(30)]


def check_names_of_rows(made: Run, place: Place) -> None:
    for verb in ("encode", "score", "reconstruct"):
        assert run([verb, "run", "sales.csv", "-o", f"{verb}.csv"]) == 0
        out = pl.read_csv(place.folder / f"{verb}.csv", infer_schema=False)
        assert out.columns[0] == "id"
        assert out["id"].to_list() == LARGE
    assert written(place, "generate", "run", "-n", "5").columns == ["a", "b"]


@command("C19", 0, "taken as the names of the rows, not modelled.", check=trained(check_names_of_rows))
def large_integers(place: Place) -> list[str]:
    source = place.table("sales.csv", "a,order,b", lambda i: f"{i * i % 31},{LARGE[i]},{i % 7}", 30)
    return ["train", source, *LOUD]


@command("C19", 0, 'column "first" holds integers beyond 2^53', 'column "second" holds integers beyond 2^53')
def two_columns_of_large_integers(place: Place) -> list[str]:
    table = rows(lambda i: f"{LARGE[i]},{LARGE[i // 2]},{i % 7}", header="a,first,second,b")
    return ["train", place.write("sales.csv", table), *DRY]


@command("C19", 3, 'column "b" row 13 holds 9007199254740993, an integer beyond 2^53, which a float would round.')
def lone_large_integer(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: 2**53 + 1 if i == 12 else i))]


def check_words_as_names(made: Run, place: Place) -> None:
    assert run(["encode", "run", "sales.csv", "-o", "more.csv"]) == 0
    lines = (place.folder / "more.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["id", *(f"00{i}" for i in range(40))]


@command("C19", 0, 'column "code" names the rows, not modelled.', check=trained(check_words_as_names))
def names_of_rows(place: Place) -> list[str]:
    source = place.table("sales.csv", "code,a,b", lambda i: f"00{i},{i * i % 31},{i % 7}")
    return ["train", source, "--ids", "code", *LOUD]


@command("C22", 3, "new: entry [1] row 2 is 7, expected a category known from 0 to 3 (1 such value)")
def unseen_category(place: Place) -> list[str]:
    codes = np.random.default_rng(0).integers(0, 4, (40, 3))
    np.save(place.folder / "codes.npy", codes)
    codes[1, 1] = 7
    np.save(place.folder / "new.npy", codes)
    assert run(["train", "codes.npy", "--likelihood", "categorical", *TRAIN]) == 0
    return ["evaluate", "run", "new.npy"]


def check_same_bytes(place: Place, out: str, err: str) -> None:
    for verb in ("encode", "score"):
        for name in ("as-trained", "turned"):
            assert run([verb, str(place.models.table), f"{name}.csv", "-o", f"{verb}-{name}.csv"]) == 0
        both = [(place.folder / f"{verb}-{name}.csv").read_bytes() for name in ("as-trained", "turned")]
        assert both[0] == both[1]
        assert len(both[0].splitlines()) == 41


@command("C23", 0, check=check_same_bytes)
def another_order_of_columns(place: Place) -> list[str]:
    frame = pl.read_csv(place.models.table.parent / "people.csv", infer_schema=False)
    frame.write_csv(place.folder / "as-trained.csv")
    frame.select("age", "height", "weight").write_csv(place.folder / "turned.csv")
    return ["evaluate", str(place.models.table), "turned.csv", "--samples", "5", "-q"]


@command("C24", 3, 'new.csv: column "weight" was used in training but is not there.')
def missing_column(place: Place) -> list[str]:
    return ["encode", str(place.models.table), place.write("new.csv", "height,age\n160,30\n")]


@command("C24", 0, "note: 2 columns unknown to the model, ignored: name, bmi.", check=one_line)
def extra_columns(place: Place) -> list[str]:
    new = place.write("new.csv", "name,height,weight,bmi,age\nBob,160.5,60,22,30\n")
    return ["encode", str(place.models.table), new]


@command("C25", 3, 'sales.csv: column "age" is numeric but row 7 holds "unknown" (4 such rows).', "--missing unknown")
def stray_words(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: "unknown" if i % 7 == 6 else i, header="a,age"))]


@command("C25", 3, r'row 7 holds "\x1b[31m' + "x" * 31 + '…"')
def stray_word_of_a_terminal(place: Place) -> list[str]:
    word = "\x1b[31m" + "x" * 10_000
    return ["train", place.write("sales.csv", rows(lambda i: word if i == 6 else i))]


@command("C27", 3, "sales.csv: line 13: unexpected end of data. Is a quote left open?")
def open_quote(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: '"11' if i == 11 else i))]


@command("C27", 3, "sales.csv is not a text table: NUL byte at line 5.")
def null_byte(place: Place) -> list[str]:
    return ["train", place.write("sales.csv", rows(lambda i: "\0" if i == 3 else i))]
