"""Servers on real sockets, each over a small run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

import httpx

from vaelab.run import Run
from vaelab.web import Server
from vaelab.web.explored import Explored
from vaelab.web.explorer import application

NASTY = "<img src=x onerror=alert(1)>"  # a column's name


@dataclass(frozen=True)
class Served:
    """A run, what the explorer makes of it, and its server; `client` shows the token."""

    run: Run
    explored: Explored
    server: Server
    client: httpx.Client

    @property
    def port(self) -> int:
        return self.server.start.port


@contextmanager
def serving(run: Run, **how: Any) -> Iterator[Served]:
    explored = Explored(run, **how)
    server = Server(application(explored))
    thread = Thread(target=server.run)
    thread.start()
    headers = {"x-vaelab-token": server.start.token}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.start.port}", headers=headers, trust_env=False) as client:
            yield Served(run, explored, server, client)
    finally:
        server.stop()
        thread.join(10)
        assert not thread.is_alive(), "the server did not stop"
