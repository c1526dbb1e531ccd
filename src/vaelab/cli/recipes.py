"""`vaelab recipes`: published models by name."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import Parameter


def recipes(*, as_json: Annotated[bool, Parameter("--json", negative=())] = False) -> None:
    """List the recipes: name, paper, and the parts that make them.

    Parameters
    ----------
    as_json
        Print one JSON document to stdout.
    """
    from ..recipes import DEFAULTS, RECIPES, ROLES

    rows = []
    for recipe in RECIPES.values():
        parts = {role: recipe.parts.get(role, "by the data" if role == "likelihood" else DEFAULTS[role]) for role in ROLES}
        rows.append({"name": recipe.name, "paper": recipe.paper, "parts": parts})
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['name']:14}{row['paper']}")
        print(" " * 14 + "  ".join(f"{role} {spec}" for role, spec in row["parts"].items()))
