"""`vaelab doctor`: what ails a run."""

from __future__ import annotations

import json
import sys
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
) -> int:
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
    from ..opening import load

    found = load(run).doctor(source)
    print(json.dumps(found.json()) if as_json else report(found))
    if strict and found.serious:
        names = ", ".join(finding.name for finding in found.serious)
        print(f"error: {run}: found {names}; without --strict this is no error.", file=sys.stderr)
        return VerificationError.exit_code
    return 0


LABELS = {
    "kl": "KL(q(z | x) || p(z)), nats per row",
    "information": "mutual information of x and z, nats",
    "active_units": "active units",
    "unused": "dimensions below 0.01 nats",
    "own_code": "log p(x | own z) less another row's z, nats per row",
    "spread": "spread of reconstructions, share of the data's variance",
    "misses": "prior draws that miss the codes (0.05 if q(z) is p(z))",
    "strays": "codes that the prior misses (0.05 if q(z) is p(z))",
    "mismatch": "KL of q(z) and p(z) by two moments, nats",
    "scale_over_step": "smallest sigma of p(x | z) over its entry's step",
    "scale_extreme": "largest |log sigma| of p(x | z) (bound: 10)",
    "code_extreme": "largest |log sigma| of q(z | x) (bound: 10)",
    "train_gain": "gain over a decoder that ignores z, training rows, nats",
    "held_gain": "the same, rows not trained on",
    "rising": "share of the rise in the last quarter (straight line: 0.25)",
    "setback": "largest rise of the loss, share of its whole fall",
    "fallen": "fall of the validation bound after its best, nats",
    "skipped": "steps undone",
}


def report(found: Diagnosis) -> str:
    """Return findings and figures as lines of text."""
    lines = []
    for finding in found.findings:
        lines.append(finding.name + ("   (a note: harmless)" if finding.harmless else ""))
        lines.append(f"  {finding.figure}: {finding.value:.4g}, reference {finding.reference:.4g}")
        lines += textwrap.wrap(f"{finding.words}.", 110, initial_indent="  ", subsequent_indent="  ")
        lines += textwrap.wrap(f"{finding.remedy}.", 110, initial_indent="  -> ", subsequent_indent="     ")
    if not found.findings:
        lines.append("nothing found")
    figures = found.symptoms.json()
    lines.append(f"looked at, in the model's units ({found.split} rows, {figures['latents']} latent dimensions)")
    lines += [f"  {label:62}{figures[name]:.4g}" for name, label in LABELS.items() if figures[name] is not None]
    return "\n".join(lines)
