"""`vaelab measure`: do generated rows look like real ones, and are all kinds of real ones there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from ..evaluation import SampleMeasures
    from ..use import Measures


def measure(
    run: str,
    source: str | None = None,
    /,
    *,
    samples: int = 2000,
    seed: int = 0,
    as_json: Annotated[bool, Parameter("--json", negative=())] = False,
) -> None:
    """Generated rows against held-out rows, beside training rows against them: what a perfect model would get.

    precision, recall, density, coverage (by 5 nearest neighbours), the Fréchet distance of two moments, the maximum
    mean discrepancy, and how well a classifier tells the two sets apart. In the model's units; a row of more than 64
    entries is seen through 64 principal components of real rows and the length of the rest.

    Parameters
    ----------
    run
        A run folder or model file.
    source
        Rows that were not trained on (default: the test part, else the validation rows).
    samples
        At most so many rows of each kind.
    seed
        Seed of the rows that are generated and picked.
    as_json
        Print one JSON document to stdout.
    """
    from ..opening import load
    from .rows import read_rows

    opened = load(run)
    data, _ = read_rows(opened, source)
    found = opened.measure(None if source is None else data, samples=samples, seed=seed)
    near = opened.privacy(samples, source=data, seed=seed) if opened.schema.columns is not None else None
    if as_json:
        print(json.dumps({**found.json(), **({} if near is None else {"privacy": near.json()})}))
        return
    print(table(found))
    if near is not None:
        print(
            f"copies: {near.copies:,} of {near.rows:,} generated rows equal a training row in every column, "
            f"{near.copies_held_out:,} one of {near.compared:,} held-out rows. None is no proof of privacy."
        )


MEANINGS = {
    "precision": "share within reach of a held-out row",
    "recall": "share of held-out rows within reach of one",
    "density": "held-out rows in whose reach one is, over 5; 1 if equal",
    "coverage": "share of held-out rows with one in their reach",
    "frechet": "Fréchet distance² of two moments",
    "mmd": "maximum mean discrepancy²; 0 if equal",
    "p": "share of relabellings with as large a discrepancy",
    "two_sample": "share that a classifier tells right; 0.5 if equal",
}


def table(found: Measures) -> str:
    """Return the figures as lines of text."""
    sides = [found.generated] if found.reference is None else [found.generated, found.reference]
    titles = ["generated", "training rows"][: len(sides)]
    lines = [
        f"{found.rows:,} generated rows against {found.held:,} rows not trained on ({found.split}), seen through",
        f"{found.features}",
        "".ljust(14) + "".join(title.ljust(22) for title in titles),
    ]
    for name, meaning in MEANINGS.items():
        lines.append(f"  {name.replace('_', ' '):<12}" + "".join(figure(s, name).ljust(22) for s in sides) + meaning)
    if found.nearer is not None:
        lines.append(f"nearer to a training row than to any of as many held-out ones: {found.nearer} (new rows: 0.5)")
    return "\n".join(lines)


def figure(side: SampleMeasures, name: str) -> str:
    """Return one figure as text."""
    if name == "mmd":
        return f"{side.mmd.value:.2e} ± {side.mmd.se:.0e}"
    if name in ("frechet", "p"):
        return f"{side.frechet if name == 'frechet' else side.mmd.p:.4g}"
    return str(getattr(side, name))
