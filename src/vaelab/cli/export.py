"""`vaelab export`: the decoder of a run in one file, as a page or for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import UsageError


def export(
    run: str,
    source: str | None = None,
    /,
    *,
    out: Annotated[str, Parameter(name=["--out", "-o"])],
    given: str | None = None,
    force: bool = False,
) -> None:
    """Write the decoder of a run as one file: the explorer's page (.html), or a graph for other programs (.onnx).

    The page opens by a double click and asks nobody for anything: the browser runs the decoder, whose weights are
    rounded as far as decodes that move by less than a thousandth of their range allow. It holds no rows, only the
    codes, errors and labels of at most 20,000 / (dimensions + 2) of them.

    Parameters
    ----------
    run
        A run folder or model file.
    source
        Rows on the map of a page (default: the test part, else the validation rows, else the training rows).
    out
        page.html or model.onnx.
    given
        What a conditional model is given: name=value,...
    force
        Replace an existing file.
    """
    target = Path(out)
    if target.suffix not in (".html", ".onnx"):
        raise UsageError(f"{out}: unknown kind of file. Known: .html (a page), .onnx.")

    from ..data.write import check_place
    from ..durable import write_durably
    from ..opening import load

    check_place(target, force)
    opened = load(run)
    if target.suffix == ".onnx":
        if source is not None:
            raise UsageError("export: a .onnx file holds no rows. Leave SOURCE out.")
        from ..web.onnx import onnx_of

        content = onnx_of(opened, opened.given(given))
    else:
        from ..web.explored import Explored
        from ..web.onefile import page_of
        from .rows import read_rows

        rows = None if source is None else read_rows(opened, source)[0]
        content = page_of(Explored(opened, rows, given=given))
    write_durably(target, content)
    print(f"{out}: {len(content):,} bytes", file=sys.stderr)
