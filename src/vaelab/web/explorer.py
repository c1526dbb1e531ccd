"""The explorer's routes: the page from memory, four questions about a run, each with its bounds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from ..errors import VaelabError
from . import fields
from .explored import Explored, Shown
from .guard import Refused
from .latest import Latest

STEPS = 64  # on a path
SIDE = 15  # of a grid
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}

Answer = Callable[[Request], Awaitable[Response]]


def application(explored: Explored) -> Router:
    """Return the page of a run as an application; it stands behind a `Guard`, see `Server`."""
    latest, z = Latest(), fields.place(explored.run.latent_dim)
    points = explored.points()

    async def run(request: Request) -> Response:
        return JSONResponse(explored.facts() | {"can": list(asked)})

    async def every_point(request: Request) -> Response:
        return Response(points, media_type="application/octet-stream")

    asked: dict[str, tuple[Mapping[str, fields.Field], Callable[..., Shown]]] = {
        "decode": ({"z": z}, lambda z: explored.decode([z])),
        "path": (
            {"start": z, "end": z, "steps": fields.whole(1, STEPS), "way": fields.one_of("straight", "spherical")},
            explored.path,
        ),
        "grid": ({"corner": z, "right": z, "up": z, "side": fields.whole(2, SIDE)}, explored.grid),
    }
    if explored.seen is not None:
        asked["row"] = ({"number": fields.whole(0, len(explored.seen.data) - 1)}, explored.row)
    routes = [
        Route("/api/run", run, methods=["GET"]),
        Route("/api/points", every_point, methods=["GET"]),
        *(Route(f"/api/{kind}", _post(latest, kind, *how), methods=["POST"]) for kind, how in asked.items()),
        *(Route(path, _static(*content), methods=["GET"]) for path, content in static().items()),
    ]
    return Router(routes, redirect_slashes=False)  # no more: what goes wrong is answered by the guard


def static() -> dict[str, tuple[bytes, str]]:
    """Return the files of the page by their path: read once, so that no request ever reaches the file system."""
    folder = resources.files(__package__).joinpath("static")
    out = {}
    for file in folder.iterdir():
        kind = TYPES.get("." + file.name.rpartition(".")[2])
        if kind is not None:
            out["/" if file.name == "index.html" else f"/{file.name}"] = (file.read_bytes(), kind)
    return out


def _static(content: bytes, kind: str) -> Answer:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


def _post(latest: Latest, kind: str, known: Mapping[str, fields.Field], work: Callable[..., Shown]) -> Answer:
    async def answer(request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            raise Refused(415, "expected content-type application/json")
        given: dict[str, Any] = fields.read(await request.body(), known)
        try:
            shown = await latest.run(kind, lambda: work(**given))
        except VaelabError as error:
            raise Refused(422, str(error)) from None
        if isinstance(shown, bytes):
            return Response(shown, media_type="application/octet-stream")
        return JSONResponse({"rows": shown})

    return answer
