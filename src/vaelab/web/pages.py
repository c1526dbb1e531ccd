"""What every page's application is made of: files from memory, questions with bounded fields, one worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import VaelabError
from . import fields
from .guard import Refused
from .latest import Latest

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}

Answer = Callable[[Request], Awaitable[Response]]


def static(package: str = "vaelab.web", folder: str = "static") -> dict[str, tuple[bytes, str]]:
    """Return the files of a page by their path: read once, so that no request ever reaches the file system."""
    out = {}
    for file in resources.files(package).joinpath(folder).iterdir():
        kind = TYPES.get("." + file.name.rpartition(".")[2])
        if kind is not None:
            out["/" if file.name == "index.html" else f"/{file.name}"] = (file.read_bytes(), kind)
    return out


def files(contents: Mapping[str, tuple[bytes, str]]) -> list[Route]:
    """Return the routes of files that are held in memory."""

    def route(path: str, content: bytes, kind: str) -> Route:
        async def answer(request: Request) -> Response:
            return Response(content, media_type=kind)

        return Route(path, answer, methods=["GET"])

    return [route(path, *content) for path, content in contents.items()]


def told(path: str, tell: Callable[[], Any]) -> Route:
    """Return the route of a question without fields: bytes as they are, anything else as JSON."""

    async def answer(request: Request) -> Response:
        return _response(tell())

    return Route(f"/api/{path}", answer, methods=["GET"])


def asked(latest: Latest | None, kind: str, known: Mapping[str, fields.Field], work: Callable[..., Any]) -> Route:
    """Return the route of a question with fields; JSON is {"found": ...}.

    The worker answers, and of questions that wait for it the newest; without one each is answered at once, in its turn.
    """

    async def answer(request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            raise Refused(415, "expected content-type application/json")
        given: dict[str, Any] = fields.read(await request.body(), known)
        try:
            found = work(**given) if latest is None else await latest.run(kind, lambda: work(**given))
        except VaelabError as error:
            raise Refused(422, str(error)) from None
        return _response(found if isinstance(found, bytes) else {"found": found})

    return Route(f"/api/{kind}", answer, methods=["POST"])


def _response(found: Any) -> Response:
    if isinstance(found, bytes):
        return Response(found, media_type="application/octet-stream")
    return JSONResponse(found)
