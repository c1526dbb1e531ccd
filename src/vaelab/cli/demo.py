"""`vaelab demo`: the first minute."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter


def demo(*, out: Annotated[str | None, Parameter(alias="-o")] = None, epochs: int = 100) -> None:
    """Train a VAE on the 1,797 bundled digits, judge it, and draw what it does. At most a minute.

    Parameters
    ----------
    out
        The run folder (default: runs/digits-N).
    epochs
        Passes over the training rows.
    """
    from ..durable import write_durably
    from ..folder import claim_folder
    from ..options import TrainOptions
    from ..pictures import overview_picture
    from ..planning import plan_run
    from ..training import Progress
    from .evaluate import table
    from .report import report_beside

    options = TrainOptions(latent_dim=10, epochs=epochs)
    folder = claim_folder(out, "digits")
    plan = plan_run("digits", latent_dim=options.latent_dim, epochs=options.epochs)
    print(plan.describe(), file=sys.stderr)
    with Progress() as progress:
        run = plan.run(progress.report)
    run.write(folder, "digits", options)
    write_durably(folder / "demo.png", overview_picture(run))
    page = report_beside(run)
    print(table(run.evaluate(samples=1000)))
    print(f"picture  {folder / 'demo.png'}")
    if page is not None:
        print(f"report   {page}")
    print("next     vaelab train FOLDER_OF_IMAGES_OR_TABLE.csv", file=sys.stderr)
    print(f"         vaelab evaluate {folder} --json", file=sys.stderr)
    print(f"         vaelab generate {folder} -n 64 -o new.png", file=sys.stderr)
