"""Tables as people have them, by the hundred: each is refused in one line, or every row and column is accounted for.

By hand, more of them and through the whole command, whose parser takes most of the time:
VAELAB_EXAMPLES=20000 python -m pytest tests/data/test_messy_tables.py --hypothesis-seed=1
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vaelab.cli import run
from vaelab.data import Field, Levels, open_source
from vaelab.data.reading import MISSING
from vaelab.errors import VaelabError
from vaelab.planning import plan_run

EXAMPLES = int(os.environ.get("VAELAB_EXAMPLES", "0"))
QUICK = ["--epochs", "1", "--hidden", "2", "--latent-dim", "1"]
often = settings(
    max_examples=EXAMPLES or 300,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=6)
REALS = st.floats(-1e9, 1e9).map(repr) | st.floats(-9, 9).map(lambda v: f"{v:.3f}")
KINDS = {
    "real": REALS,
    "any": st.floats(allow_nan=False, allow_infinity=False).map(repr),
    "integer": st.integers(-50, 50).map(str),
    "binary": st.sampled_from(["0", "1"]),
    "truth": st.sampled_from(["True", "false"]),
    "large": st.integers(2**53, 2**70).map(str),
    "constant": st.just("7.25"),
    "word": st.just("NO"),
    "empty": st.just(""),
    "missing": st.sampled_from(["", "NA", "?", "nan", "3", "4.5"]),
    "infinite": st.sampled_from(["inf", "1", "2", "3"]),
    "stray": st.sampled_from(["unknown", *map(str, range(30))]),
    "comma": st.sampled_from(["1,5", "2,25", "-3,0"]),
    "text": WORDS,
}
MOSTLY_GOOD = ["real", "integer", "binary", "missing", "constant", "word", "empty", "large"]


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Draw the bytes of a table: columns of known kinds, then what goes wrong on the way to a file."""
    good = draw(st.integers(0, 2)) > 0
    kinds = draw(st.lists(st.sampled_from(MOSTLY_GOOD if good else sorted(KINDS)), min_size=1, max_size=6))
    rows = draw(st.integers(13, 30) if good else st.integers(0, 30))
    columns = [draw(st.lists(KINDS[kind], min_size=rows, max_size=rows)) for kind in kinds]
    names = [f"c{i}" for i in range(len(kinds))] if good else [draw(WORDS) for _ in kinds]
    records = [list(record) for record in zip(*columns)]
    if good or draw(st.booleans()):
        records.insert(0, names)
    separator = draw(st.sampled_from(",;\t|"))
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    blank = draw(st.sets(st.integers(0, rows), max_size=3))
    for i, record in enumerate(records):
        writer.writerow(record)
        if i in blank:
            out.write("\n")
    encodings = ["utf-8", "utf-8-sig", "utf-8" if good else "utf-16"]
    content = out.getvalue().encode(draw(st.sampled_from(encodings)))
    if good:
        return content
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(content)))
        end = at + draw(st.integers(0, 2))
        content = content[:at] + draw(st.binary(max_size=2) | st.sampled_from([b'"', b",", b"\n"])) + content[end:]
    return content


def said(folder: Path) -> tuple[int, str]:
    """Return the exit code and stderr of a dry run on the table in this folder; an error that is not ours is raised."""
    err = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        if EXAMPLES:
            return run(["train", "t.csv", "--dry-run", *QUICK]), err.getvalue()
        try:
            return 0, plan_run("t.csv", epochs=1, hidden="2", latent_dim=1).describe()
        except VaelabError as error:
            return error.exit_code, f"error: {error}\n"


def counted(pattern: str, err: str) -> int:
    """Return the sum of the numbers that a pattern finds."""
    return sum(int(number.replace(",", "")) for number in re.findall(pattern, err))


def cells_of(content: bytes, err: str) -> tuple[list[str], list[list[str]], int]:
    """Return names, rows and the number of blank lines of a table by Python's own reader; no names: column1, ..."""
    found = re.search(r'delimiter "(.+)" detected', err)
    delimiter = found[1].replace("\\t", "\t") if found else ","
    text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    records = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    width = len(records[0])
    kept = [fields or [""] for fields in records if width == 1 or len(fields) > 1 or any(f.strip() for f in fields)]
    usual = [f"column{i + 1}" for i in range(width)]
    if "no header line" in err:
        return usual, kept, len(records) - len(kept)
    return [cell.strip() or usual[i] for i, cell in enumerate(kept[0])], kept[1:], len(records) - len(kept)


def number(cell: str) -> float:
    word = cell.strip()
    if word.lower() in ("true", "false"):
        return float(word.lower() == "true")
    return np.nan if word in ("", *MISSING) else float(word)


def told(cell: str, field: Field | None) -> float:
    """Return the number that stands for a cell: of a word its place among the levels."""
    if not isinstance(field, Levels):
        return number(cell)
    word = cell.strip()
    return np.nan if word in ("", *MISSING) else float(field.levels.index(word))


@often
@given(content=tables())
def test_a_table_is_refused_in_one_line_or_accounted_for(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "t.csv"
        path.write_bytes(content)
        code, err = said(Path(name))
        assert code in (0, 3), err
        assert "Traceback" not in err
        assert os.listdir(name) == ["t.csv"]
        if code == 3:
            assert err.startswith("error: ")
            assert err.count("\n") == 1
            assert err[:-1].isprintable()
            return
        data = open_source(path)
    names, rows, blank = cells_of(content, err)
    assert counted(r"note     ([\d,]+) blank line", err) == blank
    used = counted(r"split    ([\d,]+) train", err) + counted(r"([\d,]+) validation", err)
    assert used + counted(r"note     ([\d,]+) rows? without any value", err) == len(rows)
    modelled = counted(r"data .*?([\d,]+) (?:real |binary |)columns? \(", err)
    apart = r"is constant \(|has no values; left out|beyond 2\^53, which|left out as an index|is left out, it "
    assert modelled + len(re.findall(apart, err)) == len(names)
    # and the numbers and words are those of the cells
    assert data.schema.columns is not None
    order = [names.index(name) for name in data.schema.columns]
    fields = data.schema.kinds or [None] * len(order)
    cells = [[told(rows[row - 1][i], field) for i, field in zip(order, fields)] for row in data.row_numbers]
    assert np.array_equal(cells, data.x, equal_nan=True)
