"""Exact checks of the study deck: first dates, a line cut short, what may come next, forms of a deck."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from exact import check
from vaelab.study import Answer, Card, Deck, History, Schedule, history
from vaelab.study.exchange import from_csv, from_text, to_csv, to_text
from vaelab.study.queue import Queue

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SMALL = Deck("small", tuple(Card(n, f"question {n}", f"answer {n}", f"more of {n}") for n in range(1, 5)))


@check
def first_dates_of_the_five_ratings() -> None:
    """Again after 1 minute, hard after 5.5, good after 10, easy after the 8.2956 days of FSRS-6, rounded."""
    waits = [(Schedule().add(Answer(START, "small", 1, rating)) - START).total_seconds() for rating in range(1, 6)]
    assert waits == [60, 60, 330, 600, 8 * 86400], waits


@check
def a_line_cut_short_is_taken_off() -> None:
    """Cut after each byte: what was whole stays, what is added is read."""
    first, second = Answer(START, "small", 1, 4), Answer(START + timedelta(days=1), "small", 2, 3)
    line = history.written(second)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "h"
        for cut in range(1, len(line) + 1, 7):
            path.write_bytes(history.written(first) + line[:cut])
            file = History(path)
            assert file.read() == [first]
            assert file.add(second) == [second]
            assert History(path).read() == [first, second]


@check
def due_cards_come_before_new_ones() -> None:
    """The longest due first; then new ones, so many a day; then one in learning, never the card just answered."""
    answers = [Answer(START, "small", 3, 5), Answer(START + timedelta(hours=1), "small", 2, 5)]
    queue, now = Queue([SMALL], answers, new_per_day=1), START + timedelta(days=9)
    order = []
    for rating in (5, 5, 1):
        place = queue.next(now)
        assert place is not None
        order.append(place.card.number)
        queue.add(Answer(now, *place.key, rating))
    assert order == [3, 2, 1], order
    assert queue.next(now) is None


@check
def forms_of_a_deck_give_it_back() -> None:
    """CSV and plain text."""
    assert from_csv(to_csv(SMALL), "small", "f") == SMALL
    assert from_text(to_text(SMALL), "small", "f") == SMALL
