"""`vaelab refit`: another prior for a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def refit(
    run: str,
    source: str | None = None,
    /,
    *,
    out: Annotated[str, Parameter(alias="-o")],
    prior: str = "mixture",
    steps: int = 2000,
    seed: int = 0,
    force: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Fit a prior to the codes z ~ q(z given x) of the rows; encoder and decoder stay as they are.

    Parameters
    ----------
    run
        A run folder or model file.
    source
        Rows to fit to (default: the training rows).
    out
        The folder of the new run.
    prior
        mixture:components=10,covariance=full, flow:kind=maf (nsf), vamp:components=500; code-sequence where q is
        nearest; gaussian and uniform-sphere have nothing to fit.
    steps
        Steps of gradient ascent, for a prior that needs them.
    seed
        Seed of the codes and of the prior.
    force
        Replace an existing output.
    """
    from ..durable import write_durably
    from ..folder import CONFIG_FILE, HISTORY_FILES, MODEL_FILE, claim_folder
    from ..opening import load
    from ..use import log_prior

    folder = claim_folder(out, run, force=force)
    opened = load(run)
    new = opened.refit(source, prior=prior, steps=steps, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    for gone in (MODEL_FILE, *HISTORY_FILES, "report.html"):
        (folder / gone).unlink(missing_ok=True)
    config = Path(run) / CONFIG_FILE
    if config.exists():
        told = f"# The run to which `vaelab refit --prior {prior} --steps {steps} --seed {seed}` gave its prior.\n"
        write_durably(folder / CONFIG_FILE, told.encode() + config.read_bytes())
    new.save(folder / MODEL_FILE)
    data, split = opened.data(source)
    before, after = (log_prior(r.model, data, seed=seed) for r in (opened, new))  # type: ignore[arg-type]
    print(f"E[log p(z)] {before:.3f} -> {after:.3f} nats per row ({split} rows)", file=sys.stderr)
    print(folder)
