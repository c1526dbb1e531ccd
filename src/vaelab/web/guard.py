"""What stands before every answer: who may ask, how much, and with which headers it is answered.

A page on the web can send requests to a server on the reader's own machine; so can other users of that machine. The
guard answers only what names this server as its host, comes from its own pages and, for anything but the page itself,
knows the token of this launch.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
TOKEN = "x-vaelab-token"
MOST_HEADERS, LARGEST_HEAD, LARGEST_BODY = 64, 2**14, 2**16
LONGEST_PATH = 8192
MOST_AT_ONCE = 64  # requests; more are told to come again
PATIENCE = 10.0  # seconds for a body to arrive
RETRY = {"retry-after": "1"}


class Refused(Exception):
    """A request that is answered with a status and one line, and goes no further."""

    def __init__(self, status: int, said: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(said)
        self.status, self.said, self.headers = status, said, headers or {}


class Guard:
    """Wraps an application: `guarded` paths need the token, any request must name this server as its host.

    `port` is known once the socket is bound.
    """

    def __init__(self, app: App, *, port: int, token: str, guarded: str = "/api/") -> None:
        self.app, self.token, self.guarded = app, token, guarded
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.origins = {f"http://{host}" for host in self.hosts}
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started = False

        async def sent(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = [pair for pair in message.get("headers", []) if pair[0].lower() not in dict(HEADERS)]
                message = {**message, "headers": [*own, *HEADERS]}
            await send(message)

        self.running += 1
        try:
            self._check(scope)
            body = await _body(scope, receive)
            await self.app(scope, _given(body, receive), sent)
        except Refused as refused:
            if not started:
                await refuse(sent, refused)
        except Exception as error:
            number = secrets.token_hex(4)
            print(f"error: request {number}: {type(error).__name__}", file=sys.stderr, flush=True)
            if not started:
                await refuse(sent, Refused(500, f"internal error {number}: see the terminal of vaelab"))
        finally:
            self.running -= 1

    def _check(self, scope: Scope) -> None:
        given: list[tuple[bytes, bytes]] = scope["headers"]
        if self.running > MOST_AT_ONCE:
            raise Refused(503, "too many requests at once: try again", RETRY)
        if len(given) > MOST_HEADERS or sum(len(name) + len(value) for name, value in given) > LARGEST_HEAD:
            raise Refused(431, f"headers are at most {MOST_HEADERS}, of {LARGEST_HEAD:,} bytes together")
        if len(scope.get("raw_path") or scope["path"]) > LONGEST_PATH:
            raise Refused(414, "the address is too long")
        if len(hosts := _all(given, "host")) != 1:
            raise Refused(400, f"expected one Host header, got {len(hosts)}")
        # trust is never drawn from comparing Origin with Host: each must be one of our own names
        if hosts[0] not in self.hosts:
            raise Refused(403, "this server answers only to its own address")
        if any(origin not in self.origins for origin in _all(given, "origin")):
            raise Refused(403, "this server answers only its own pages")
        if any(site not in ("same-origin", "none") for site in _all(given, "sec-fetch-site")):
            raise Refused(403, "this server answers only its own pages")
        if scope["path"].startswith(self.guarded):
            tokens = _all(given, TOKEN)
            if len(tokens) != 1 or not hmac.compare_digest(tokens[0].encode(), self.token.encode()):
                raise Refused(401, "no or wrong token: open the address that vaelab printed")


async def refuse(send: Send, refused: Refused) -> None:
    """Answer {"error": one line}."""
    content = json.dumps({"error": refused.said}).encode()
    extra = [(name.encode(), value.encode()) for name, value in refused.headers.items()]
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode()), *extra]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _body(scope: Scope, receive: Receive) -> bytes:
    """Read the body, at most `LARGEST_BODY` bytes of it, within `PATIENCE` seconds."""
    declared = _all(scope["headers"], "content-length")
    if len(declared) > 1 or any(not (d.isascii() and d.isdigit()) for d in declared):
        raise Refused(400, "content-length is one whole number")
    if declared and (len(declared[0]) > 12 or int(declared[0]) > LARGEST_BODY):
        raise Refused(413, f"a body holds at most {LARGEST_BODY:,} bytes", {"connection": "close"})
    body = b""
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "the body ended early")
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    raise Refused(413, f"a body holds at most {LARGEST_BODY:,} bytes", {"connection": "close"})
                if not message.get("more_body", False):
                    return body
    except TimeoutError:
        raise Refused(408, "the body did not arrive", {"connection": "close"}) from None


def _given(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that hands over a body that was read, then waits for the end of the connection."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again


def _all(headers: list[tuple[bytes, bytes]], name: str) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key == name.encode()]
