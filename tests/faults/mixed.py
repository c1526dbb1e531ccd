"""Tables of words, dates and numbers: what is left out, refused, or comes back as it was."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl

from faults.catalogue import QUICK, Place, command, library
from vaelab import load
from vaelab.cli import run
from vaelab.data import open_source

TRAIN = (*QUICK, "--out", "run")
LOUD = tuple(option for option in TRAIN if option != "-q")


NEW = "town,born,height,children,member\n"


def people(place: Place) -> str:
    """Put the table of `Models.people` there: a name, a category, a date, a number, a grid, a truth; with gaps."""
    return place.write("people.csv", (place.models.people.parent / "mixed.csv").read_bytes())


SMALL = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[2] / "src")!r})
from vaelab.cli import run
code = run(["train", "big.csv", "--dry-run"])
# not getrusage: a child begins with the largest size that its parent had
print(code, time.process_time(), open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


@library("C20")
def a_column_of_300_000_levels_is_refused_within_5_seconds_and_1_gb(place: Place) -> None:
    twice = np.random.default_rng(0).permutation(np.arange(600_000) % 300_000)
    place.write("big.csv", "user,a\n" + "".join(f"u{v},{v % 17}.5\n" for v in twice.tolist()))
    done = subprocess.run([sys.executable, "-c", SMALL], cwd=place.folder, capture_output=True, text=True, timeout=300)
    code, seconds, kilobytes = done.stdout.split()
    words = 'column "user" has 300,000 different words; at most 100,000 can be a category.'
    assert words in done.stderr, done.stderr
    assert "Leave it out with --drop user." in done.stderr
    assert code == "3"
    assert float(seconds) < 5, f"{seconds} s"
    assert int(kilobytes) < 2**20, f"{kilobytes} KB"


@command("C21", 0, 'column "name" is left out, it differs in every row: nothing can be learned of it.')
def names_are_left_out(place: Place) -> list[str]:
    return ["train", people(place), *LOUD]


def untouched_but_for_gaps(place: Place, out: str, err: str) -> None:
    before, after = (place.folder / "people.csv").read_text(), (place.folder / "full.csv").read_text()
    cells = [(a, b) for x, y in zip(before.split("\n"), after.split("\n")) for a, b in zip(x.split(","), y.split(","))]
    assert len(cells) == 61 * 6 + 1
    assert all(a == b for a, b in cells if a)
    assert all(b for a, b in cells[:-1])
    assert "gaps in" in err


@command("C53", 0, check=untouched_but_for_gaps)
def gaps_of_a_mixed_table(place: Place) -> list[str]:
    return ["impute", str(place.models.people), people(place), "-o", "full.csv", "--samples", "20"]


def the_same_file(place: Place, out: str, err: str) -> None:
    assert (place.folder / "same.csv").read_bytes() == (place.folder / "odd.csv").read_bytes()
    assert "nothing is missing" in err


@command("C52", 0, check=the_same_file)
def nothing_to_fill(place: Place) -> list[str]:
    odd = "height , weight,age\r\n 160.50,007, 30\r\n\r\n1.60e2,60 ,031\r\n"
    return ["impute", str(place.models.table), place.write("odd.csv", odd), "-o", "same.csv", "--samples", "5"]


@command("C52", 0, "note: never missing in training: born. What stands there now was not learned from gaps.")
def a_gap_where_there_was_none(place: Place) -> list[str]:
    new = place.write("new.csv", f"{NEW}Oslo,,170.5,3,True\n")
    return ["impute", str(place.models.people), new, "-o", "full.csv", "--samples", "20"]


@command(
    "C22", 3, 'new.csv: column "town" row 2 is "Paris", a category that the model has not seen.', "--unseen missing"
)
def an_unseen_town(place: Place) -> list[str]:
    assert run(["train", people(place), *TRAIN]) == 0
    new = place.write(
        "new.csv", "town,born,height,children,member\nOslo,1980-01-01,170,3,True\nParis,1980-01-01,,3,True\n"
    )
    return ["score", "run", new, "-o", "scores.csv"]


@command("C22", 0, "2 missing values: town 1, height 1.")
def an_unseen_town_is_missing(place: Place) -> list[str]:
    assert run(["train", people(place), *TRAIN, "--unseen", "missing"]) == 0
    new = place.write(
        "new.csv", "town,born,height,children,member\nOslo,1980-01-01,170,3,True\nParis,1980-01-01,,3,True\n"
    )
    return ["score", "run", new, "-o", "scores.csv"]


def of_the_same_kinds(place: Place, out: str, err: str) -> None:
    made = pl.read_csv(place.folder / "more.csv", infer_schema=False)
    given = load(place.models.people).schema
    assert made.columns == ["town", "born", "height", "children", "member"]
    assert set(made["town"]) <= {"Oslo", "Bergen", "Å"}
    assert made["born"].str.to_date("%Y-%m-%d").is_between(pl.date(1970, 1, 1), pl.date(1999, 12, 31)).all()
    assert made["height"].str.contains(r"^1[5-8]\d\.\d$").all()  # one decimal, within what was seen
    assert set(made["children"]) <= set("01234")
    assert set(made["member"]) <= {"True", "False"}
    assert [field.kind for field in given.kinds] == ["category", "date", "real", "ordinal", "boolean"]


@command("C26", 0, check=of_the_same_kinds)
def kinds_come_back(place: Place) -> list[str]:
    return ["generate", str(place.models.people), "-n", "200", "-o", "more.csv"]


@library("C26")
def frames_come_back_as_they_were(place: Place) -> None:
    table = pl.read_csv(place.folder / people(place), try_parse_dates=True)
    for frame in (table, table.to_pandas(), table.to_arrow()):
        data = open_source(frame)
        assert [field.kind for field in data.schema.kinds] == ["category", "date", "real", "ordinal", "boolean"]
        assert int(data.observed.sum()) == 60 * 5 - 15 - 7  # type: ignore[union-attr]


@command("C12", 3, 'people.csv: column "town" holds text: row 1 is "Oslo", where a number was expected.')
def a_kind_that_it_is_not(place: Place) -> list[str]:
    return ["train", people(place), "--column", "town:real"]


@command("C12", 2, "--column twon: no such column. Did you mean town?")
def a_kind_of_no_column(place: Place) -> list[str]:
    return ["train", people(place), "--column", "twon:category"]


@command("C12", 2, "--column town:colour: unknown kind")
def an_unknown_kind(place: Place) -> list[str]:
    return ["train", people(place), "--column", "town:colour"]


@command("C6", 3, "sales.arff has no line @data: it is no ARFF file, or cut short.")
def no_arff(place: Place) -> list[str]:
    return ["train", place.write("sales.arff", "@relation x\n@attribute a numeric\n")]


@command("C7", 3, "sales.arff.gz: line 5 has 1 field, expected 2.")
def short_row_of_an_arff(place: Place) -> list[str]:
    text = "@relation x\n@attribute a {p,'q r'}\n@attribute b numeric\n@data\np\n"
    return ["train", place.write("sales.arff.gz", gzip.compress(text.encode()))]


def check_given(place: Place, out: str, err: str) -> None:
    made = pl.read_csv(place.folder / "more.csv", infer_schema=False)
    assert set(made["town"]) == {"Bergen"}
    assert "by importance resampling" in err


@command("C26", 0, check=check_given)
def a_town_given_after_training(place: Place) -> list[str]:
    return ["generate", str(place.models.people), "-n", "20", "--given", "town=Bergen", "-o", "more.csv"]


@library("C29")
def words_that_a_spreadsheet_would_run(place: Place) -> None:
    """Words and names of columns get a ' where that is asked for, numbers never; without it all is exact."""
    formulas = ("=1+1", "@home", '-5 "men"', "plain")
    lines = [f'"{formulas[i % 4].replace(chr(34), 2 * chr(34))}",{-i % 7 - 3}.5,{i % 3}' for i in range(40)]
    table = place.write("cells.csv", "=kind,x,-y\n" + "\n".join(lines) + "\n")
    gaps = place.write("gaps.csv", "=kind,x,-y\n" + "\n".join([*lines[:5], "@home,,2", ",-1.5,1"]) + "\n")
    assert run(["train", table, *TRAIN]) == 0
    wild, tame = {*formulas}, {"'=1+1", "'@home", '\'-5 "men"', "plain"}
    for how, words, names in (([], wild, ["=kind", "x", "-y"]), (["--excel-safe"], tame, ["'=kind", "x", "'-y"])):
        assert run(["generate", "run", "-n", "200", "-o", "new.csv", "--force", *how]) == 0
        assert run(["impute", "run", gaps, "-o", "full.csv", "--intervals", "ends.csv", "--force", "-q", *how]) == 0
        made, full = (pl.read_csv(place.folder / name, infer_schema=False) for name in ("new.csv", "full.csv"))
        assert made.columns == full.columns == names
        assert set(made[names[0]]) == words
        assert set(full[names[0]]) <= words
        assert full[names[0]][:4].to_list() == [f"'{w}" if how and w != "plain" else w for w in formulas]
        assert float(made["x"].cast(pl.Float64).min()) < 0, "the case does not tell"  # type: ignore[arg-type]
        assert full["x"].cast(pl.Float64).len() == 7
        assert pl.read_csv(place.folder / "ends.csv")["column"].to_list() == ["x", names[0]]
