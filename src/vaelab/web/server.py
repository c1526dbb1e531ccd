"""A server for this machine alone: bound to 127.0.0.1, one token for each launch, stopped by Ctrl-C."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from dataclasses import dataclass
from threading import Thread

from ..errors import EnvironmentFault, UsageError
from .guard import LARGEST_HEAD, App, Guard

HOST = "127.0.0.1"
GRACE = 1  # seconds for answers under way when the server stops


@dataclass(frozen=True)
class Start:
    """Where a server listens, and the secret that its page must show."""

    port: int
    token: str

    @property
    def address(self) -> str:
        """The address to open; the token stands in its fragment, which no browser sends or logs."""
        return f"http://{HOST}:{self.port}/#token={self.token}"


class Server:
    """An application on a port of 127.0.0.1 behind a `Guard`; port 0 is any that is free.

    The socket is bound at once. Raises EnvironmentFault if the port is taken.
    """

    def __init__(self, app: App, *, port: int = 0) -> None:
        import uvicorn

        self.socket = _bound(port)
        self.start = Start(self.socket.getsockname()[1], secrets.token_urlsafe(32))
        guard = Guard(app, port=self.start.port, token=self.start.token)
        self.uvicorn = uvicorn.Server(
            uvicorn.Config(
                guard,
                lifespan="off",
                http="h11",
                ws="none",
                loop="asyncio",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                h11_max_incomplete_event_size=LARGEST_HEAD,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=GRACE,
            )
        )

    def run(self) -> None:
        """Serve until Ctrl-C or SIGTERM; the port is free again when this returns."""
        try:
            self.uvicorn.run(sockets=[self.socket])
        except KeyboardInterrupt:
            pass  # uvicorn has stopped, and hands the signal on
        finally:
            self.socket.close()

    def stop(self) -> None:
        """Ask `run`, in another thread, to return."""
        self.uvicorn.should_exit = True


def _bound(port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UsageError(f"port {port} does not exist: ports go to 65535. Use --port 0 for any that is free.")
    # the protocol is named, because asyncio asks for it before it sends small answers at once (else they wait 40 ms)
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise EnvironmentFault(
            f"port {port} of {HOST} cannot be used: {error.strerror}. Use --port 0 for any that is free."
        ) from None
    return bound


def open_browser(address: str) -> None:
    """Open an address in the reader's browser, without waiting for it."""
    Thread(target=webbrowser.open, args=(address,), daemon=True).start()
