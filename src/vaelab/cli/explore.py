"""`vaelab explore`: a page on this machine that shows the latent space of a run."""

from __future__ import annotations

import sys


def explore(
    run: str,
    source: str | None = None,
    /,
    *,
    port: int = 0,
    browser: bool = True,
    given: str | None = None,
) -> None:
    """Show the latent space of a run in the browser: point at a place, and see what the model makes of it.

    The page is served to this machine alone, until Ctrl-C.

    Parameters
    ----------
    run
        A run folder or model file.
    source
        Rows on the map (default: the test part, else the validation rows, else the training rows).
    port
        Where to listen (default: any port that is free).
    browser
        Open the page; its address is printed in any case.
    given
        What a conditional model is given: name=value,...
    """
    from ..run import load
    from ..web import Server, open_browser
    from ..web.explored import Explored
    from ..web.explorer import application
    from .rows import read_rows

    opened = load(run)
    rows = None if source is None else read_rows(opened, source)[0]
    server = Server(application(Explored(opened, rows, given=given)), port=port)
    print(server.start.address, flush=True)
    print("Ctrl-C stops the server.", file=sys.stderr)
    if browser:
        open_browser(server.start.address)
    server.run()
    print("stopped.", file=sys.stderr)
