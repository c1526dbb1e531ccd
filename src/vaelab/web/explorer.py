"""The explorer's routes: the page from memory, the questions about a run, each with its bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.routing import Router

from . import fields, pages
from .explored import Explored
from .latest import Latest

STEPS = 64  # on a path
SIDE = 15  # of a grid


def application(explored: Explored) -> Router:
    """Return the page of a run as an application; it stands behind a `Guard`, see `Server`."""
    latest, z = Latest(), fields.place(explored.run.latent_dim)
    points = explored.points()
    # the methods are looked up when they are asked for
    asked: dict[str, tuple[Mapping[str, fields.Field], Callable[..., Any]]] = {
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
        pages.told("run", lambda: explored.facts() | {"can": list(asked)}),
        pages.told("points", lambda: points),
        *(pages.asked(latest, kind, *how) for kind, how in asked.items()),
        *pages.files(pages.static()),
    ]
    return Router(routes, redirect_slashes=False)  # no more: what goes wrong is answered by the guard
