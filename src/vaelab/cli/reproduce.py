"""`vaelab reproduce`: published figures and tables, ours beside theirs."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import UsageError, VerificationError


def reproduce(
    name: str,
    /,
    *,
    full: Annotated[bool, Parameter(negative=())] = False,
    fraction: float | None = None,
    only: str | None = None,
    seed: int = 0,
    out: Annotated[str, Parameter(alias="-o")] = "docs/reproductions",
    work: str = "reproductions",
    as_json: Annotated[bool, Parameter("--json", negative=())] = False,
) -> int:
    """Run the figures or tables of a paper again, and write a page with ours beside theirs.

    Every curve is kept in the work folder: after Ctrl-C, or with more samples asked for, the same command goes on where
    it was. The page is written once a minute, and says what has not been run; beside it `curves.json` keeps what every
    curve came to, of all seeds, and what it has is not run again, on whatever machine: another --out starts anew.
    Exit 0 if all that was run shows what the paper shows, 7 if not.

    Parameters
    ----------
    name
        kingma-welling-2013 or iwae.
    full
        The paper's length: 10 million samples a curve; 3,280 passes. (Default: 3 million; 100 passes.)
    fraction
        Of the default length: 0.001 takes seconds, and shows only that everything runs.
    only
        Parts of the paper or names of curves, as figure-2,figure-3 or mnist-20-aevb (default: all).
    seed
        Seed of weights, order and noise.
    out
        The folder of the page.
    work
        The folder in which curves are kept.
    as_json
        Print one JSON document to stdout.
    """
    if full and fraction is not None:
        raise UsageError("give --full or --fraction, not both.")
    from .. import reproductions

    one = reproductions.find(name)
    scale = one.full if full else 1.0 if fraction is None else fraction
    asked = [word for word in (only or "").split(",") if word]
    parts = [word for word in asked if word in {item.part for item in one.plan(scale)}]
    length = " --full" if full else "" if fraction is None else f" --fraction {fraction:g}"
    outcome = reproductions.reproduce(
        one,
        out=Path(out),
        work=Path(work),
        command=f"vaelab reproduce {shlex.quote(name)}{length}",
        scale=scale,
        parts=parts,
        names=[word for word in asked if word not in parts],
        seed=seed,
        told=lambda line: print(line, file=sys.stderr, flush=True),
    )
    if as_json:
        print(json.dumps(outcome.json()))
    else:
        words = {True: "holds", False: "does not hold", None: "not run yet"}
        for check in outcome.checks:
            print(f"{words[check.holds]}: {check.text}")
        print(f"page  {outcome.page}")
    return 0 if outcome.holds else VerificationError.exit_code
