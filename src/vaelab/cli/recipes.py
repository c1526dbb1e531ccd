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

    usual = {**DEFAULTS, "likelihood": "by the data"}
    parts = {name: {role: recipe.parts.get(role, usual[role]) for role in ROLES} for name, recipe in RECIPES.items()}
    if as_json:
        print(json.dumps([{"name": name, "paper": RECIPES[name].paper, "parts": parts[name]} for name in RECIPES]))
        return
    width = max(map(len, RECIPES)) + 2
    for name, recipe in RECIPES.items():
        print(f"{name:{width}}{recipe.paper}")
        print(" " * width + "  ".join(f"{role} {spec}" for role, spec in parts[name].items()))
