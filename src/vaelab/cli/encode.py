"""`vaelab encode`: where rows lie in the latent space."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def encode(
    run: str,
    source: str | None = None,
    /,
    *,
    out: Annotated[str | None, Parameter(alias="-o")] = None,
    seed: int = 0,
    force: Annotated[bool, Parameter(negative=())] = False,
    excel_safe: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Posterior means z0, z1, ... and deviations sd0, sd1, ... of each row, after its id and label.

    Parameters
    ----------
    run
        A run folder or model file.
    source
        Rows to encode (default: the test part, else the validation rows, else the training rows).
    out
        By its name: .csv, .parquet, .npz (keys z and sd). Default: CSV to the terminal.
    seed
        Seed of the binarisation of grey images; the same for every row.
    force
        Replace an existing output.
    excel_safe
        In a .csv, put ' before words that a spreadsheet would run as a formula.
    """
    from ..data.write import as_frame, check_columns, write_columns
    from ..models import SemiSupervised
    from ..opening import load
    from ..use import classify
    from . import print_csv
    from .rows import read_rows

    if out is not None:
        check_columns(Path(out), force)
    opened = load(run)
    data, split = read_rows(opened, source)
    codes = opened.encode(data, seed=seed)
    columns = {**data.carried(), "z": codes.mean.numpy(), "sd": codes.deviation.numpy()}
    if isinstance(opened.model, SemiSupervised):
        likely = classify(opened.model, data, seed=seed).numpy()
        columns |= {f"p_{name}": likely[:, i] for i, name in enumerate(opened.model.classes)}
    if out is None:
        print_csv(as_frame(columns), excel_safe=excel_safe)
    else:
        write_columns(out, columns, force=force, excel_safe=excel_safe)
        print(f"{len(data):,} rows ({split}) -> {out}", file=sys.stderr)
