"""`vaelab doctor`: what ails a run."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ..errors import VerificationError

if TYPE_CHECKING:
    from ..evaluation import Diagnosis


def doctor(
    run: str,
    source: str | None = None,
    /,
    *,
    strict: Annotated[bool, Parameter(negative=())] = False,
    as_json: Annotated[bool, Parameter("--json", negative=())] = False,
) -> None:
    """Findings in plain words, each with the figure that shows it and the option that mends it.

    collapse, unused-latents, decoder-ignores-z, over-fit, prior-hole, variance-at-floor, learning-rate, too-short.
    A healthy run has none; the figures that were looked at are shown either way.

    Parameters
    ----------
    run
        A run folder or model file.
    source
        Rows that were not trained on (default: the test part, else the validation rows).
    strict
        Exit 7 if anything is found that is more than a note.
    as_json
        Print one JSON document to stdout.
    """
    from ..run import load

    found = load(run).doctor(source)
    print(json.dumps(found.json()) if as_json else report(found))
    if strict and found.serious:
        raise VerificationError(f"{run}: {', '.join(finding.name for finding in found.serious)}. See the findings.")


def report(found: Diagnosis) -> str:
    """Return findings and figures as lines of text."""
    lines = []
    for finding in found.findings:
        lines.append(finding.name + ("   (a note: harmless)" if finding.harmless else ""))
        lines.append(f"  {finding.figure}: {finding.value:.4g}, reference {finding.reference:.4g}")
        lines += textwrap.wrap(f"{finding.words}.", 110, initial_indent="  ", subsequent_indent="  ")
        lines += textwrap.wrap(f"{finding.remedy}.", 110, initial_indent="  -> ", subsequent_indent="     ")
    lines.append("" if found.findings else "nothing found")
    lines.append(f"figures, in nats per row of the model's units (rows: {found.split})")
    figures = found.symptoms.json()
    lines += [f"  {name:18}{_plain(value)}" for name, value in figures.items() if value is not None]
    return "\n".join(lines)


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
