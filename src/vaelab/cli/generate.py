"""`vaelab generate`: new rows from the model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import UsageError


def generate(
    run: str,
    /,
    *,
    n: Annotated[int, Parameter("-n")],
    out: Annotated[str, Parameter(alias="-o")],
    means: Annotated[bool, Parameter(negative=())] = False,
    temperature: float = 1.0,
    given: str | None = None,
    seed: int = 0,
    force: Annotated[bool, Parameter(negative=())] = False,
    excel_safe: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Draw rows: z from the prior, then x from p(x | z).

    Parameters
    ----------
    run
        A run folder or model file.
    n
        How many rows.
    out
        By its name: .png (a grid), a folder (one image each), .npz, .npy, .csv, .parquet.
    means
        E[x given z] in place of the draw of x: smoother, and no sample of the model.
    temperature
        Multiplies the noise behind z; 1 is the model.
    given
        What a conditional model is given, "kind=3" or "kind=3,age=35"; to a model trained without --condition, values
        of columns of a table: rows that have them are then found by resampling draws from the model.
    seed
        Seed of the draws.
    force
        Replace an existing output.
    excel_safe
        In a .csv, put ' before words that a spreadsheet would run as a formula.
    """
    from ..data.given import row_of
    from ..data.write import check_target, write_rows
    from ..opening import load
    from ..use import generate_blocks, generate_given

    if n < 0:
        raise UsageError(f"-n must not be negative, got {n}.")
    opened = load(run)
    check_target(Path(out), opened.schema, force)
    if opened.resamples(given):
        if means or temperature != 1.0:
            raise UsageError("--given without --condition in training resamples draws: no --means, no --temperature.")
        rows, effective = generate_given(opened.model, opened.schema, n, row_of(opened.schema, given or ""), seed=seed)
        write_rows(out, rows, opened.schema, force=force, excel_safe=excel_safe)
        few = " These are few: train with --condition to be given them." if effective < 1000 else ""
        how = f"by importance resampling, of {effective:,.0f} effective draws of z"
        print(f"{n:,} draws given {given}, {how} -> {out}.{few}", file=sys.stderr)
        return
    condition = opened.given(given)
    blocks = generate_blocks(
        opened.model, opened.schema, n, means=means, temperature=temperature, seed=seed, condition=condition
    )
    write_rows(out, blocks, opened.schema, n=n, means=means, force=force, excel_safe=excel_safe)
    print(f"{n:,} {'means' if means else 'draws'} -> {out}", file=sys.stderr)
