"""`vaelab info`: what a model file holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def info(run: str, /, *, as_json: Annotated[bool, Parameter("--json", negative=())] = False) -> None:
    """Say what a run or model file holds; no network is built.

    Parameters
    ----------
    run
        A run folder or model file.
    as_json
        Print one JSON document to stdout.
    """
    from ..errors import ModelFileError, one_line
    from ..files import inspect
    from ..folder import MODEL_FILE, is_run

    path = Path(run)
    if path.is_dir() and is_run(path) and not (path / MODEL_FILE).exists():
        raise ModelFileError(
            f"{run}: no model file yet: the run is in training, or was killed in it. Other commands take its best "
            f"weights so far; after a kill `vaelab train --resume {run}` goes on."
        )
    held = inspect(path / MODEL_FILE if path.is_dir() else path)
    if as_json:
        print(json.dumps(held))
        return
    for key in ("format", "version", "digest", "bytes", "finite"):
        print(one_line(f"{key:12}{held[key]}"))
    print(f"{'parameters':12}{json.dumps(held['parameters'])}")
    for key, value in (held["meta"] or {}).items():
        print(one_line(f"{key:12}{value if isinstance(value, str) else json.dumps(value)}"))
