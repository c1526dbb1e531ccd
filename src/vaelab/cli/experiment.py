"""`vaelab experiment`: what a card of the deck says, measured."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ..errors import UsageError, VerificationError

if TYPE_CHECKING:
    from ..experiments import Result


def experiment(
    card: int | None = None,
    /,
    *,
    every: Annotated[bool, Parameter("--all", negative=())] = False,
    control: Annotated[bool, Parameter(negative=())] = False,
    seed: int = 0,
    full: Annotated[bool, Parameter(negative=())] = False,
    out: Annotated[str, Parameter(alias="-o")] = "experiments",
    as_json: Annotated[bool, Parameter("--json", negative=())] = False,
) -> int:
    """Measure the statement of a card: claims that were fixed before looking, each holds or does not.

    Exit 0 if every claim holds, 7 if not; a control must end with 7. The picture is CARD, SEED and ways in its name;
    the same experiment replaces it by the same picture.

    Parameters
    ----------
    card
        The number of the card, 1 to 19.
    every
        All cards, as a table.
    control
        The same measurement with one ingredient broken on purpose: it must not hold.
    seed
        Seed of data, weights and noise.
    full
        Longer, with smaller errors.
    out
        The folder for the picture (default: experiments).
    as_json
        Print one JSON document to stdout; with --all, a list of them.
    """
    if (card is None) != every:
        raise UsageError("give the number of a card, or --all for every card.")
    from ..experiments import EXPERIMENTS, find

    chosen = [find(card)] if card is not None else [EXPERIMENTS[number] for number in sorted(EXPERIMENTS)]
    documents: list[dict[str, Any]] = []
    held = True
    for one in chosen:
        result = one.run(seed=seed, control=control, full=full)
        held &= result.holds
        picture = save(result, Path(out))
        documents.append(result.json(str(picture)))
        if not as_json:
            print(row(result) if every else report(result), flush=True)
        if not every:
            print(f"picture  {picture}", file=sys.stderr)
    if as_json:
        print(json.dumps(documents if every else documents[0]))
    return 0 if held else VerificationError.exit_code


def save(result: Result, folder: Path) -> Path:
    """Write the picture of a result into a folder; return where it is."""
    from ..durable import write_durably

    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / result.file_name, result.picture())
    return folder / result.file_name


WORDS = {True: "holds", False: "does not hold", None: "shown"}


def row(result: Result) -> str:
    """Return the line of a table: card, whether it holds, how many claims do, seconds, question."""
    claims = [claim for claim in result.claims if claim.holds is not None]
    good = f"{sum(claim.holds is True for claim in claims)} of {len(claims)} claims"
    word = WORDS[result.holds] + (" (control)" if result.control else "")
    question = result.experiment.question
    return f"{result.experiment.card:>2}  {word:<24}{good:<16}{result.seconds:5.1f} s  {question}"


def report(result: Result) -> str:
    """Return the claims and figures as lines of text."""
    one = result.experiment
    lines = [f"card {one.card}: {one.question}", *_wrapped(one.statement, 2)]
    if result.control:
        lines += _wrapped(f"control, which must not hold: {one.control}", 2)
    for claim in result.claims:
        lines += ["", *_wrapped(f"{WORDS[claim.holds]}: {claim.text}", 0)]
        width = max((len(name) for name in claim.figures), default=0) + 2
        lines += [f"    {name:<{width}}{written(value)}" for name, value in claim.figures.items()]
    total = WORDS[result.holds] + (" (control: must not hold)" if result.control else "")
    return "\n".join([*lines, "", f"{total}, {result.seconds:.1f} s of processor time"])


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent=" " * indent, subsequent_indent=" " * (indent or 4))


def written(value: Any) -> str:
    """Return a figure as text: a number, one with its standard error, or several of them."""
    from torch import Tensor

    from ..evaluation import Estimate

    if isinstance(value, Estimate):
        return f"{value.value:.5g} ± {value.se:.2g}"
    if isinstance(value, Tensor):
        return written(value.tolist())
    if isinstance(value, (list, tuple)):
        return ", ".join(written(v) for v in value)
    return f"{value:.5g}" if isinstance(value, float) else str(value)
