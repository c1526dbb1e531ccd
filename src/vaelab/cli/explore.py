"""`vaelab explore`: a page on this machine that shows the latent space of a run."""

from __future__ import annotations

from pathlib import Path


def explore(
    run: str,
    /,
    *beside: str,
    port: int = 0,
    browser: bool = True,
    given: str | None = None,
) -> None:
    """Show the latent space of a run in the browser: point at a place, and see what the model makes of it.

    The page is served to this machine alone, until Ctrl-C.

    Parameters
    ----------
    run
        A run folder or model file.
    beside
        Other runs, which are drawn beside this one by rate and distortion; and at most one SOURCE of rows for the map
        (default: the test part, else the validation rows, else the training rows).
    port
        Where to listen (default: any port that is free).
    browser
        Open the page; its address is printed in any case.
    given
        What a conditional model is given: name=value,...
    """
    from ..errors import UsageError
    from ..folder import is_run
    from ..opening import load
    from ..web.explored import Explored
    from ..web.explorer import application
    from ..web.questions import rate_distortion
    from .rows import read_rows
    from .serving import serve

    others = [name for name in beside if name.endswith(".safetensors") or is_run(Path(name))]
    sources = [name for name in beside if name not in others]
    if len(sources) > 1:
        raise UsageError(f"explore: one SOURCE of rows at most, got {', '.join(sources)}. Which of them are runs?")
    opened = load(run)
    rows = read_rows(opened, sources[0])[0] if sources else None
    drawn = [rate_distortion(load(name), Path(name).name) for name in [run, *others]] if others else []
    serve(application(Explored(opened, rows, given=given, runs=drawn)), port=port, browser=browser)
