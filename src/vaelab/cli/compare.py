"""`vaelab compare`: runs side by side."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import UsageError


def compare(
    *runs: str,
    out: Annotated[str | None, Parameter(alias="-o")] = None,
    source: str | None = None,
    samples: int = 5000,
    seed: int = 0,
    force: Annotated[bool, Parameter(negative=())] = False,
    as_json: Annotated[bool, Parameter("--json", negative=())] = False,
) -> None:
    """Runs side by side on the same rows: bounds with standard errors, and differences to the best, row by row.

    Parameters
    ----------
    runs
        Run folders or model files, at least two.
    out
        Also draw a picture, .png: rate against distortion, the bound's split, the differences.
    source
        Rows to judge (default: the test part, else the validation rows, else the training rows, which must agree).
    samples
        Draws of z per row for the evidence.
    seed
        Seed of the draws.
    force
        Replace an existing picture.
    as_json
        Print one JSON document to stdout.
    """
    if out is not None and not out.lower().endswith(".png"):
        raise UsageError(f"--out {out}: the picture is a PNG. Give a name that ends in .png.")
    if out is not None and Path(out).exists() and not force:
        raise UsageError(f"{out} exists. Use --force to replace it, or another --out.")
    from ..comparison import compare as side_by_side
    from ..durable import write_durably

    found = side_by_side(runs, source, samples=samples, seed=seed, names=runs)
    if out is not None:
        write_durably(Path(out), found.picture())
        print(f"picture  {out}", file=sys.stderr)
    print(json.dumps(found.json()) if as_json else str(found))
