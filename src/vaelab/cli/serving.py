"""How a command serves a page."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import Router


def serve(application: Router, *, port: int, browser: bool) -> None:
    """Serve until Ctrl-C; the address goes to stdout, and to the browser if it is to open."""
    from ..web import Server, open_browser

    server = Server(application, port=port)
    print(server.start.address, flush=True)
    print("Ctrl-C stops the server.", file=sys.stderr)
    if browser:
        open_browser(server.start.address)
    server.run()
    print("stopped.", file=sys.stderr)
