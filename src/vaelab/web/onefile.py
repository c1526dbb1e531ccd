"""The explorer in one file: the same page, its decoder run by the browser; nothing is fetched, nobody is asked."""

from __future__ import annotations

import re
from base64 import b64encode
from graphlib import TopologicalSorter
from hashlib import sha256
from importlib import resources
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.columns import WRITTEN
from ..data.fields import Levels
from .explored import Explored
from .packing import for_a_map, packed
from .program import as_json, program_of

NUMBERS = 20_000  # of the map in the file: rows times (dimensions + 2)
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?(?:const|let|function|class)) (\w+)", re.MULTILINE)


def page_of(explored: Explored) -> bytes:
    """Return the page of a run as one file that opens from a disk.

    It holds the decoder, and of at most 20,000 / (dimensions + 2) rows their codes, errors and labels: no row, no name
    of a row. Raises UsageError for a decoder that a page cannot run, see `program_of`.
    """
    program = program_of(explored.run, explored.condition)
    seen, facts = explored.seen, explored.facts()
    kept_rows = 0 if seen is None else min(len(seen.codes), NUMBERS // (explored.run.latent_dim + 2))
    facts |= {"rows": kept_rows, "names": None, "can": ["decode", "path", "grid"]}
    draws = explored.prior()[1][: NUMBERS // (explored.run.latent_dim + 2)]
    facts["prior_draws"] = len(draws)
    none: NDArray[Any] = np.empty(0, np.float32)
    codes, error, labels = (none, none, none) if seen is None else (seen.codes.T, seen.error, seen.labels)
    drawn, steps = zip(*map(for_a_map, (codes[..., :kept_rows], error[:kept_rows], draws.T)))
    numbers = [*drawn[:2], torch.from_numpy(labels[:kept_rows].copy()), drawn[2]]
    kept, block = packed([*program.constants, *numbers], [*program.coarse, *steps, 1.0])
    held = {"facts": facts, "steps": program.steps, "constants": len(program.constants), "kept": kept, "block": block}
    held |= {"scale": explored.scale, "cells": None if explored.image else _cells(explored)}
    return _one_page(held).encode()


def _cells(explored: Explored) -> list[dict[str, Any] | None] | None:
    """Return how each column is written: its words, or the form of its dates; None for numbers."""
    schema = explored.schema
    types = dict(zip(schema.user_columns, schema.dtypes or ()))
    out: list[dict[str, Any] | None] = []
    for name, field in zip(schema.columns or (), schema.kinds):
        kind = types.get(name, "")
        if isinstance(field, Levels):
            out.append({"words": list(field.levels)})
        elif field.kind == "date":
            plain = "%Y-%m-%d" if kind == "Date" else "%Y-%m-%d %H:%M:%S"
            out.append({"date": kind.removeprefix(WRITTEN) if kind.startswith(WRITTEN) else plain})
        else:
            out.append(None)
    return out or None


def _one_page(held: dict[str, Any]) -> str:
    folder = resources.files(__package__)
    static, offline = folder.joinpath("static"), folder.joinpath("offline")
    sources = {file.name: file.read_text("utf-8") for file in static.iterdir() if file.name.endswith(".js")}
    sources |= {file.name: file.read_text("utf-8") for file in offline.iterdir() if file.name.endswith(".js")}
    script, style = bundled(sources, "main.js"), static.joinpath("explorer.css").read_text("utf-8")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    page = static.joinpath("index.html").read_text("utf-8")
    for there, ours in (
        (
            '<meta charset="utf-8">',
            f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">',
        ),
        ('<link rel="stylesheet" href="/explorer.css">', f"<style>{style}</style>"),
        ('<script type="module" src="/main.js"></script>', ""),
        (
            "</body>",
            f'<script type="application/json" id="file">{as_json(held)}</script>\n'
            f'<script type="module">{script}</script>\n</body>',
        ),
    ):
        assert page.count(there) == 1, there
        page = page.replace(there, ours)
    return page


def bundled(sources: dict[str, str], first: str) -> str:
    """Return modules as one script that does what `first` does: each is a function that returns what it exports.

    They import names by `import { a, b } from "./other.js";` and export declarations; nothing else is understood.
    """
    needed: dict[str, set[str]] = {}
    waiting = [first]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed[name] = {f"{other}.js" for _, other in IMPORT.findall(sources[name])}
            waiting.extend(needed[name])
    return "\n".join(_as_function(name, sources[name]) for name in TopologicalSorter(needed).static_order())


def _as_function(name: str, source: str) -> str:
    exported = [word for _, word in EXPORT.findall(source)]
    body = EXPORT.sub(r"\1 \2", IMPORT.sub(lambda found: f"const {{{found[1]}}} = of_{found[2]};\n", source))
    assert "\nimport " not in body, f"{name}: an import that is not understood"
    assert "\nexport " not in body, f"{name}: an export that is not understood"
    assert not re.search(r"`[^`\n]*\n", re.sub(r"`[^`\n]*`", "", body)), f"{name}: a text that goes over lines"
    assert "</script" not in body, f"{name} would end the script"
    lines = (line.strip() for line in body.split("\n"))  # no text of the page goes over lines
    body = "".join(f"{line}\n" for line in lines if line and not line.startswith("// "))
    return f"const of_{name.removesuffix('.js')} = (() => {{\n{body}return {{ {', '.join(exported)} }};\n}})();"


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
