"""`vaelab report`: one page that shows a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ..errors import UsageError

if TYPE_CHECKING:
    from ..run import Run

PAGE = "report.html"


def report(
    run: str,
    source: str | None = None,
    /,
    *,
    out: Annotated[str | None, Parameter(alias="-o")] = None,
    force: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Write what a run is, how good it is and what it does as one HTML page, to be read without a network.

    Parameters
    ----------
    run
        A run folder or model file.
    source
        Rows to show and judge (default: the test part, else the validation rows, else the training rows).
    out
        The page (default: report.html in the run folder, which is replaced).
    force
        Replace an existing page that --out names.
    """
    from ..opening import load

    if out is None:
        if not Path(run).is_dir():
            raise UsageError(f"{run} is no run folder. Say where the page goes: -o page.html.")
        target = Path(run) / PAGE
    else:
        target = Path(out)
        if target.suffix not in (".html", ".htm"):
            raise UsageError(f"{out}: the page is HTML. Name it with .html.")
        if target.exists() and not force:
            raise UsageError(f"{out} exists. Use --force to replace it.")
    print(load(run).report(target, source))


def report_beside(run: Run) -> Path | None:
    """Write the report into the folder of a run that is whole by now: no failure here may cost the run."""
    assert run.folder is not None
    try:
        return run.report(run.folder / PAGE)
    except Exception as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        print(f"warning: {PAGE} could not be made ({what}); the run is whole.", file=sys.stderr)
        return None
