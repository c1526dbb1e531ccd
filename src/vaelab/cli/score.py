"""`vaelab score`: how probable each row is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ..errors import UsageError


def score(
    run: str,
    source: str | None = None,
    /,
    *,
    out: Annotated[str | None, Parameter(alias="-o")] = None,
    samples: int = 1000,
    units: str = "user",
    per_column: Annotated[bool, Parameter(negative=())] = False,
    seed: int = 0,
    force: Annotated[bool, Parameter(negative=())] = False,
    excel_safe: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter("--quiet", alias="-q", negative=())] = False,
) -> None:
    """log_likelihood of each row, a lower bound by importance weighting, in nats: no row depends on another.

    Parameters
    ----------
    run
        A run folder or model file.
    source
        Rows to score (default: the test part, else the validation rows, else the training rows).
    out
        By its name: .csv, .parquet, .npz. Default: CSV to the terminal.
    samples
        Draws of z per row.
    units
        user: nats of your own units; standardised: of the model's.
    per_column
        Beside it what each column adds to it, and z: minus the divergence of p(z given x) from p(z); they sum to it.
    seed
        Seed of the draws, the same for every row.
    force
        Replace an existing output.
    excel_safe
        In a .csv, put ' before words that a spreadsheet would run as a formula.
    quiet
        No progress.
    """
    from ..data.write import as_frame, check_columns, write_columns
    from ..opening import load
    from ..training import Progress
    from . import print_csv
    from .rows import read_rows

    if out is not None:
        check_columns(Path(out), force)
    opened = load(run)
    data, split = read_rows(opened, source)
    if per_column and opened.schema.columns is None:
        raise UsageError(f"--per-column is for tables, not for {opened.schema.describe()}.")
    how: dict[str, Any] = {"samples": samples, "units": units, "seed": seed}
    with Progress("off" if quiet else "auto") as progress:
        if per_column:
            parts = opened.score_columns(data, **how, tick=progress.tick)
            columns = {**data.carried(), "log_likelihood": parts.total.numpy(), "latent": parts.latent.numpy()}
            columns |= {
                f"nats_{name}": parts.columns[:, i].numpy() for i, name in enumerate(opened.schema.columns or ())
            }
        else:
            scores = opened.score(data, **how, tick=progress.tick)
            columns = {**data.carried(), "log_likelihood": scores.numpy()}
    if out is None:
        print_csv(as_frame(columns), excel_safe=excel_safe)
    else:
        write_columns(out, columns, force=force, excel_safe=excel_safe)
        print(f"{len(data):,} rows ({split}) -> {out}", file=sys.stderr)
