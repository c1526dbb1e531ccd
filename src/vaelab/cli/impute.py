"""`vaelab impute`: gaps of rows filled from what was observed of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ..errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from ..run import Run
    from ..use import Imputation


def impute(
    run: str,
    source: str,
    /,
    *,
    out: Annotated[str, Parameter(alias="-o")],
    draws: int = 0,
    intervals: str | None = None,
    level: float = 0.9,
    samples: int = 1000,
    seed: int = 0,
    force: Annotated[bool, Parameter(negative=())] = False,
    excel_safe: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter("--quiet", alias="-q", negative=())] = False,
) -> None:
    """Fill the gaps of rows: the best single value of each, and draws of whole rows given what was observed.

    Parameters
    ----------
    run
        A run folder or model file.
    source
        Rows with gaps. A text table comes back as it stands, byte for byte but for the gaps.
    out
        Where the filled rows go: .csv, .tsv, .txt, .arff (of a text table), .parquet, .npy, .npz.
    draws
        So many filled copies beside, OUT with .1, .2, ... in its name: multiple imputations.
    intervals
        A file, .csv or .parquet, with a row for each gap: its value, interval or probability.
    level
        The probability of an interval.
    samples
        Draws of z per row: more come nearer to the model's own conditional.
    seed
        Seed of the draws.
    force
        Replace existing outputs.
    excel_safe
        In a .csv, put ' before words that a spreadsheet would run as a formula.
    quiet
        No progress.
    """
    from ..data.write import check_columns, write_columns
    from ..durable import write_durably
    from ..opening import load
    from ..training import Progress
    from .rows import read_rows

    opened = load(run)
    target = Path(out)
    targets = [target, *(target.with_suffix(f".{number}{target.suffix}") for number in range(1, draws + 1))]
    for path in targets:
        _check(path, Path(source), force)
    if intervals is not None:
        check_columns(Path(intervals), force)
    data, _ = read_rows(opened, source)
    with Progress("off" if quiet else "auto") as progress:
        found = opened.impute(data, draws=draws, samples=samples, level=level, seed=seed, tick=progress.tick)
    for path, values in zip(targets, [found.values, *found.draws]):
        write_durably(path, _content(opened, Path(source), path, found, values, excel_safe))
    if intervals is not None:
        write_columns(intervals, _gaps(opened, found), force=force, excel_safe=excel_safe)
    gaps, rows = int(found.missing.sum()), int(found.missing.flatten(1).any(1).sum())
    if not gaps:
        print(f"nothing is missing: {out} is {source} as it stands.", file=sys.stderr)
        return
    print(f"{gaps:,} gaps in {rows:,} of {len(data):,} rows filled -> {', '.join(map(str, targets))}", file=sys.stderr)
    for note in notes(opened, found):
        print(f"note: {note}", file=sys.stderr)


def notes(run: Run, found: Imputation) -> list[str]:
    """Return what a reader of these values should know."""
    said = []
    few = int((found.effective < 10).sum())
    if few:
        said.append(f"{few:,} rows rest on fewer than 10 effective draws of z. Take more --samples.")
    untold = run.meta.get("data", {}).get("missing")
    if untold is not None and run.schema.columns is not None:
        new = [
            name for i, name in enumerate(run.schema.columns) if name not in untold and bool(found.missing[:, i].any())
        ]
        if new:
            said.append(
                f"never missing in training: {', '.join(new)}. What stands there now was not learned from gaps."
            )
    return said


def _check(path: Path, source: Path, force: bool) -> None:
    from ..data.write import check_place

    text, kinds = (".csv", ".tsv", ".txt", ".arff"), (".parquet", ".npy", ".npz")
    own = source.name.lower().removesuffix(".gz")
    if path.suffix not in (*text, *kinds):
        raise UsageError(f"{path.name}: unknown kind of output. Known: {', '.join((*text, *kinds))}.")
    if path.suffix == ".arff" and not own.endswith(".arff"):
        raise UsageError(f"{path.name}: only what was read from an .arff file is written as one. Use .csv.")
    check_place(path, force)


def _content(run: Run, source: Path, path: Path, found: Imputation, values: Tensor, excel_safe: bool) -> bytes:
    """Return the bytes of the filled source."""
    import io

    import numpy as np
    import polars as pl

    from ..data.excel import harmless_frame
    from ..data.filling import cells_of, filled_frame, filled_text
    from ..data.reading import Reading
    from ..data.sources import TABLE_NAME
    from ..data.write import as_csv

    missing, rows = found.missing.numpy(), found.data.row_numbers
    own = source.name.lower().removesuffix(".gz")
    arff = own.endswith(".arff")
    buffer = io.BytesIO()
    if path.suffix in (".npy", ".npz"):
        np.save(buffer, values.numpy()) if path.suffix == ".npy" else np.savez(buffer, x=values.numpy())
        return buffer.getvalue()
    if own.endswith(".parquet"):
        frame = filled_frame(pl.read_parquet(source), run.schema, values.numpy(), missing)
    elif TABLE_NAME.search(own) and path.suffix != ".parquet" and (path.suffix == ".arff") == arff:
        cells = cells_of(run.schema, values.numpy(), missing, rows)
        return filled_text(source, Reading.of(run.schema.reading), cells, excel_safe=excel_safe and not arff)
    else:
        frame = run.frame(values)
    if path.suffix == ".parquet":
        frame.write_parquet(buffer)
    else:
        frame = harmless_frame(frame) if excel_safe else frame
        buffer.writelines(as_csv([frame], Reading.of(run.schema.reading)))
    return buffer.getvalue()


def _gaps(run: Run, found: Imputation) -> dict[str, Any]:
    """Return a row for each gap: row, column, value, low, high, probability; words are words."""
    import numpy as np

    from ..data.filling import cells_of

    names = run.schema.columns or tuple(f"x{i}" for i in range(run.schema.dims))
    missing = found.missing.flatten(1).numpy()
    where = np.argwhere(missing)
    rows = found.data.row_numbers[where[:, 0]]
    ends = {name: getattr(found, name).flatten(1).numpy()[missing] for name in ("low", "high", "sure")}
    if run.schema.columns is None:
        value = found.values.flatten(1).numpy()[missing]
    else:
        cells = cells_of(run.schema, found.values.numpy(), missing, found.data.row_numbers)
        value = np.array([cells[int(row), names[column]] for row, column in zip(rows, where[:, 1])])
    columns = np.array([names[column] for column in where[:, 1]])
    return {"row": rows, "column": columns, "value": value, "low": ends["low"], "high": ends["high"],
            "probability": ends["sure"]}  # fmt: skip
