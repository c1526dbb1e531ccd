"""`vaelab decode`: what lies at places of the latent space."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def decode(
    run: str,
    codes: str,
    /,
    *,
    out: Annotated[str, Parameter(alias="-o")],
    given: str | None = None,
    force: Annotated[bool, Parameter(negative=())] = False,
    excel_safe: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """E[x given z] for each code z.

    Parameters
    ----------
    run
        A run folder or model file.
    codes
        A .csv or .parquet with the columns z0, z1, ... (as `encode` writes it), or a .npy or .npz array.
    out
        By its name: .png (a grid), a folder (one image each), .npz, .npy, .csv, .parquet.
    given
        What a conditional model is given, "kind=3" or "kind=3,age=35".
    force
        Replace an existing output.
    excel_safe
        In a .csv, put ' before words that a spreadsheet would run as a formula.
    """
    from ..data.codes import read_codes
    from ..data.write import check_target, write_rows
    from ..opening import load

    opened = load(run)
    check_target(Path(out), opened.schema, force)
    z, beside = read_codes(codes, opened.latent_dim)
    write_rows(
        out, opened.decode(z, given=given), opened.schema, beside=beside, means=True, force=force, excel_safe=excel_safe
    )
    print(f"{len(z):,} codes -> {out}", file=sys.stderr)
