"""`vaelab train`: data in, run folder out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ..errors import TrainingError, UsageError
from ..options import TrainOptions, read_toml

if TYPE_CHECKING:
    from ..keeper import Keeper
    from ..run import Run
    from ..training import History


def train(
    source: str | None = None,
    /,
    *,
    out: Annotated[str | None, Parameter(alias="-o")] = None,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    force: Annotated[bool, Parameter(negative=())] = False,
    as_json: Annotated[bool, Parameter("--json", negative=())] = False,
    quiet: Annotated[bool, Parameter("--quiet", alias="-q", negative=())] = False,
    config: str | None = None,
    resume: str | None = None,
    report: bool = True,
    options: Annotated[TrainOptions, Parameter(name="*")] = TrainOptions(),  # noqa: B008
) -> int:
    """Train a model on a source and write a run folder.

    Parameters
    ----------
    source
        digits, mnist, frey-faces; a file .csv .csv.gz .parquet .npy .npz .idx; or a folder of images
        (default: the source of --config).
    out
        The run folder (default: runs/NAME-N).
    dry_run
        Say what would be trained, and stop.
    force
        Replace an existing output.
    as_json
        Print one JSON document to stdout.
    quiet
        No progress.
    config
        A TOML file of options, such as the config.toml of a run; options given here win.
    resume
        The folder of a run that was stopped: go on where it was; only --epochs and --minutes may be other ones.
    report
        Write report.html, the page that shows the run.
    """
    from ..folder import claim_folder, folder_to_resume
    from ..keeper import Keeper
    from ..planning import plan_run
    from ..training import Progress, Ranks

    with Ranks.here() as ranks:
        quiet = quiet or not ranks.first
        if resume is not None:
            if source is not None or out is not None or config is not None or force:
                raise UsageError("--resume RUN takes no SOURCE, --out, --config or --force: the run knows them.")
            folder, source, done = folder_to_resume(resume, options)
            if done:
                if ranks.first:
                    print(f"{folder} is finished: there is nothing to resume.", file=sys.stderr)
                    print(json.dumps({"run": str(folder), "stopped": "finished before"}) if as_json else folder)
                return 0
        elif source is None and config is not None:
            source = read_toml(Path(config))[0]
        if source is None:
            raise UsageError("train needs a SOURCE: a name (digits, mnist, frey-faces), a file or a folder of images.")
        if resume is None:
            named = str(claim_folder(out, source, force=force)) if ranks.first else ""
            folder = Path(ranks.handed(named.encode()).decode())
        plan = plan_run(source, **{name: getattr(options, name) for name in TrainOptions.names()})
        if not quiet or (dry_run and ranks.first):
            print(plan.describe(), file=sys.stderr)
            if ranks.world > 1:
                print(f"ranks    {ranks.world} processes share every batch", file=sys.stderr)
        if dry_run:
            if ranks.first:
                print(plan.estimate(), file=sys.stderr)
                if as_json:
                    print(json.dumps({"plan": plan.describe().splitlines(), "estimate": plan.estimate()}))
            return 0
        with Keeper(
            folder,
            source,
            options,
            plan.splits,
            resume=resume is not None,
            notes=lambda note: print(f"warning: {note}", file=sys.stderr),
            ranks=ranks,
        ) as keeper:
            with Progress("off" if quiet else "auto") as progress:

                def report_all(record: dict[str, Any], history: History) -> None:
                    progress.report(record, history)
                    keeper.report(history)

                try:
                    run = plan.run(report_all, keeper, ranks)
                except TrainingError as error:
                    if ranks.first and error.run is not None:
                        error.run.write(folder, source, options)
                    keeper.finished()  # going on would end the same way
                    if error.run is not None:
                        raise TrainingError(f"{error} The best weights before that are in {folder}.") from error
                    raise
            assert run.history is not None
            stopped = run.history.stopped == "interrupted"
            if ranks.first:
                run.write(folder, source, options)
    if ranks.first:
        _finish(run, keeper, report=report and not stopped, as_json=as_json, quiet=quiet)
    return keeper.signals.exit_code if stopped else 0


def _finish(run: Run, keeper: Keeper, *, report: bool, as_json: bool, quiet: bool) -> None:
    """Write the report, forget the checkpoint, say what happened and what may come next."""
    from .report import report_beside

    assert run.history is not None
    folder, stopped = keeper.folder, run.history.stopped == "interrupted"
    page = report_beside(run) if report else None
    if not stopped:
        keeper.finished()  # last: a run that is killed before goes on, and writes what is missing
    for note in run.history.notes:
        print(f"note: {note}", file=sys.stderr)
    for finding in [] if stopped else run.doctor(quick=True).findings:
        print(f"{'note' if finding.harmless else 'warning'}: {finding}", file=sys.stderr)
    if as_json:
        document = {
            "run": str(folder),
            "stopped": run.history.stopped,
            "skipped_steps": run.history.skipped,
            "best": run.history.best or {},
        }
        print(json.dumps(document))
        return
    if not quiet:
        example = "new.png" if run.schema.layout == "image" else "new.csv"
        print(f"stopped  {run.history.stopped}", file=sys.stderr)
        if stopped:
            print(f"resume   vaelab train --resume {folder}", file=sys.stderr)
        if page is not None:
            print(f"report   {page}", file=sys.stderr)
        print(f"next     vaelab evaluate {folder}     vaelab generate {folder} -n 64 -o {example}", file=sys.stderr)
    print(folder)
