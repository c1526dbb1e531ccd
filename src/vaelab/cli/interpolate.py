"""`vaelab interpolate`: what lies between rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def interpolate(
    run: str,
    source: str | None = None,
    /,
    *,
    out: Annotated[str, Parameter(alias="-o")],
    rows: str | None = None,
    codes: str | None = None,
    steps: int = 10,
    path: str = "straight",
    given: str | None = None,
    force: Annotated[bool, Parameter(negative=())] = False,
    excel_safe: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """E[x given z] on the path through the codes of rows, each included.

    Parameters
    ----------
    run
        A run folder or model file.
    source
        Where the rows are (default: the test part, else the validation rows, else the training rows).
    out
        By its name: .png (one line of images for each stretch), a folder, .npz, .npy, .csv, .parquet.
    rows
        The rows to pass through, 1-based, "1,5,9" (default: the first two).
    codes
        Pass through the places of this file instead: .csv or .parquet with z0, z1, ..., .npy or .npz.
    steps
        Steps from one place to the next.
    path
        straight, or spherical: at even speed around the centre of the prior.
    given
        What a conditional model is given, "kind=3" or "kind=3,age=35".
    force
        Replace an existing output.
    excel_safe
        In a .csv, put ' before words that a spreadsheet would run as a formula.
    """
    import numpy as np

    from ..data.codes import read_codes
    from ..data.write import check_target, write_rows
    from ..durable import write_durably
    from ..errors import UsageError
    from ..opening import load
    from ..pictures import path_picture
    from .rows import read_rows

    opened = load(run)
    check_target(Path(out), opened.schema, force)
    if codes is not None:
        if source is not None or rows is not None:
            raise UsageError("give rows of a source, or --codes, not both.")
        places = read_codes(codes, opened.latent_dim)[0]
    else:
        data, _ = read_rows(opened, source)
        places = opened.encode(data.take(_numbers(rows or "1,2", len(data)))).mean.numpy()
    found = opened.interpolate(places, steps=steps, path=path, given=given)
    if out.endswith(".png"):
        write_durably(Path(out), path_picture(found, opened.schema, steps))
    else:
        t = np.arange(len(found)) / steps
        write_rows(out, found, opened.schema, beside={"t": t}, means=True, force=force, excel_safe=excel_safe)
    print(f"{len(found):,} places, {path} -> {out}", file=sys.stderr)


def _numbers(text: str, most: int) -> list[int]:
    from ..errors import UsageError

    try:
        numbers = [int(word) - 1 for word in text.split(",")]
    except ValueError:
        raise UsageError(f'--rows is {text!r}: expected 1-based row numbers such as "1,5,9".') from None
    for number in numbers:
        if not 0 <= number < most:
            raise UsageError(f"--rows: no row {number + 1}: there are rows 1 to {most:,}.")
    return numbers
