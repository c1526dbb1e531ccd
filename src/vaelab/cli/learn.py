"""`vaelab learn`: the study deck, in the terminal or in the browser."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ..errors import UsageError

if TYPE_CHECKING:
    from ..study import Deck


def learn(
    deck: str | None = None,
    /,
    *,
    new: int = 5,
    web: Annotated[bool, Parameter(negative=())] = False,
    port: int = 0,
    browser: bool = True,
    due: Annotated[bool, Parameter(negative=())] = False,
    stats: Annotated[bool, Parameter(negative=())] = False,
    take: Annotated[str | None, Parameter("--import")] = None,
    name: str | None = None,
    give: Annotated[str | None, Parameter("--export")] = None,
    history: str | None = None,
    force: Annotated[bool, Parameter(negative=())] = False,
    as_json: Annotated[bool, Parameter("--json", negative=())] = False,
) -> int:
    """Nineteen cards on the VAE: think, see the answer, run its experiment, rate; the next date is by FSRS.

    Keys: Enter shows the answer, then the answer in full; 1 (not at all) to 5 (perfectly) rates it; x runs the card's
    experiment; q ends. In a pipe each is a line. Every rating is on the disk before the next card.

    Parameters
    ----------
    deck
        The name of a deck (default: all; the bundled one is called vae).
    new
        New cards a day, over the decks that are asked.
    web
        As a page in the browser, with a live experiment beside each card; served to this machine alone, until Ctrl-C.
    port
        Where the page is served (default: any port that is free).
    browser
        Open the page; its address is printed in any case.
    due
        List what is due, and ask nothing.
    stats
        Show statistics, and ask nothing.
    take
        Take in a deck from a file: .csv with columns question and answer, or lines "number / Q / question / A /
        answer".
    name
        What the imported deck is called (default: the name of the file).
    give
        Write a deck (default: vae) to a file: .apkg for Anki, .csv, or .txt.
    history
        The file of answers (default: in the user's data folder, or in VAELAB_HOME).
    force
        Replace an imported deck, or a file, that exists.
    as_json
        With --due or --stats, print one JSON document to stdout.
    """
    if sum((web, due, stats, take is not None, give is not None)) > 1:
        raise UsageError("--web, --due, --stats, --import and --export: one at a time.")
    if port and not web:
        raise UsageError("--port goes with --web.")
    if as_json and not (due or stats):
        raise UsageError("--json goes with --due or --stats.")
    if (name is not None) and take is None:
        raise UsageError("--name goes with --import.")
    if new < 0:
        raise UsageError(f"--new must be at least 0, got {new}.")
    from ..study import shelf
    from ..study.deck import BUNDLED

    if take is not None:
        made = shelf.import_deck(Path(take), name, force=force)
        print(f"deck {made.name}: {len(made.cards)} cards. Learn it: vaelab learn {made.name!r}", file=sys.stderr)
        return 0
    if give is not None:
        shelf.export_deck(shelf.deck(deck or BUNDLED), Path(give), force=force)
        print(give)
        return 0
    decks = [shelf.deck(one) for one in ([deck] if deck else shelf.names())]
    path = Path(history) if history else shelf.history_file()
    if due or stats:
        return _tell(decks, path, new, stats, as_json)
    return _serve(decks, path, new, port, browser) if web else _ask(decks, path, new)


def _serve(decks: list[Deck], path: Path, new: int, port: int, browser: bool) -> int:
    from ..experiments import lab
    from ..study import History
    from ..study.desk import Desk, application
    from .serving import serve

    lab.warm_up()  # so that the first live experiment is as fast as the others
    serve(application(Desk(decks, History(path), new_per_day=new)), port=port, browser=browser)
    return 0


def _ask(decks: list[Deck], path: Path, new: int) -> int:
    from ..study import History, Session
    from ..study.screen import here

    session = Session(decks, History(path), here(), experiment_here, new_per_day=new)
    try:
        session.run()
    except KeyboardInterrupt:
        print(f"\nstopped; {_answers(session.answered)} saved in {path}", file=sys.stderr)
        return 130
    print(f"{_answers(session.answered)} saved in {path}", file=sys.stderr)
    return 0


def experiment_here(number: int) -> str:
    """Run an experiment and return its report; its picture goes to the user's data folder."""
    from ..experiments import find
    from ..study import shelf
    from .experiment import report, save

    result = find(number).run()
    return f"{report(result)}\npicture  {save(result, shelf.home() / 'study' / 'pictures')}"


def _answers(n: int) -> str:
    return f"{n} answer" + "s" * (n != 1)


def _tell(decks: list[Deck], path: Path, new: int, stats: bool, as_json: bool) -> int:
    from ..study import History, due_list, statistics
    from ..study.queue import Queue
    from ..study.schedule import now_utc

    file, now = History(path), now_utc()
    answers = file.read()
    for note in file.notes:
        print(note, file=sys.stderr)
    found = statistics(decks, answers, now) if stats else due_list(Queue(decks, answers, new), now)
    if as_json:
        print(json.dumps(found))
    else:
        print("\n".join(stats_lines(found) if stats else due_lines(found)))
    return 0


def due_lines(found: dict[str, Any]) -> list[str]:
    """Return the due list as lines of text."""
    from ..study.screen import printable

    lines = [
        f"{one['deck']:<10} {one['card']:>3}  recall {one['recall']:.0%}  {printable(one['question'])}"
        for one in found["due"]
    ]
    return [*lines, f"{len(lines)} due, {found['new']} new today; next {found['next'] or 'when one is begun'}"]


def stats_lines(found: dict[str, Any]) -> list[str]:
    """Return statistics as lines of text."""
    ratings = "  ".join(f"{rating}: {n}" for rating, n in found["ratings"].items())
    recalled = "-" if found["recalled"] is None else f"{found['recalled']:.0%} (expected {found['expected']:.0%})"
    lines = [
        f"answers    {found['answers']}, today {found['today']}; on {found['days']} days, {found['streak']} running",
        f"ratings    {ratings}",
        f"recalled   {recalled} of {found['reviews']} reviews",
        f"{'deck':<16}{'cards':>6}{'new':>6}{'learning':>10}{'review':>8}{'due':>6}",
    ]
    for one in found["decks"]:
        lines.append(
            f"{one['name']:<16}{one['cards']:>6}{one['new']:>6}{one['learning']:>10}{one['review']:>8}{one['due']:>6}"
        )
    return lines
