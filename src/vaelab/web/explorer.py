"""The explorer's routes: the page from memory, the questions about a run, each with its bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.routing import Router

from ..models import VAE
from . import fields, pages
from .explored import Explored
from .latest import Latest
from .questions import DRAWS, Questions

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
    asked["places"] = ({"places": fields.places(explored.run.latent_dim, DRAWS)}, explored.decode)
    questions = Questions(explored)
    table = not explored.image and explored.schema.columns is not None
    if table:
        asked["interval"] = ({"z": z}, questions.interval)
    if "train" in explored.run.splits:
        asked["nearest"] = ({"z": z}, questions.nearest)
    if explored.seen is not None:
        number = fields.whole(0, len(explored.seen.data) - 1)
        asked["row"] = ({"number": number}, explored.row)
        asked["posterior"] = ({"number": number, "again": fields.whole(0, 2**31)}, questions.posterior)
        asked["tsne"] = ({}, questions.tsne)
        if table and isinstance(explored.model, VAE):
            columns = explored.schema.dims
            asked["impute"] = ({"number": number, "hidden": fields.wholes(columns, columns - 1)}, questions.impute)
    routes = [
        pages.told("run", lambda: explored.facts() | {"can": [*asked, "history"]}),
        pages.told("points", lambda: points),
        pages.told("history", questions.history),
        *(pages.asked(latest, kind, *how) for kind, how in asked.items()),
        *pages.files(pages.static()),
    ]
    return Router(routes, redirect_slashes=False)  # no more: what goes wrong is answered by the guard
