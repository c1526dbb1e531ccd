"""`vaelab reconstruct`: what the model makes of given rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def reconstruct(
    run: str,
    source: str | None = None,
    /,
    *,
    out: Annotated[str, Parameter(alias="-o")],
    seed: int = 0,
    force: Annotated[bool, Parameter(negative=())] = False,
    excel_safe: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """E[x given z], averaged over z from q(z | x), for each row.

    Parameters
    ----------
    run
        A run folder or model file.
    source
        Rows to reconstruct (default: the test part, else the validation rows, else the training rows).
    out
        By its name: .png (inputs above their reconstructions), .npz, .npy, .csv, .parquet.
    seed
        Seed of the draws of z.
    force
        Replace an existing output.
    excel_safe
        In a .csv, put ' before words that a spreadsheet would run as a formula.
    """
    from ..data.write import check_target, write_rows
    from ..durable import write_durably
    from ..opening import load
    from ..pictures import reconstruction_picture
    from .rows import read_rows

    opened = load(run)
    check_target(Path(out), opened.schema, force)
    data, split = read_rows(opened, source)
    if out.endswith(".png"):
        write_durably(Path(out), reconstruction_picture(opened, data))
    else:
        found = opened.reconstruct(data, seed=seed)
        write_rows(out, found, opened.schema, beside=data.carried(), means=True, force=force, excel_safe=excel_safe)
    print(f"{len(data):,} rows ({split}) -> {out}", file=sys.stderr)
