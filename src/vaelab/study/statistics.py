"""What the history says: cards by state, days of study, how often cards were remembered beside what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from .deck import Deck
from .queue import Queue
from .schedule import KNOWN, SCALE, Answer, Schedule


def due_list(queue: Queue, now: datetime) -> dict[str, Any]:
    """Return {"now", "due": [{"deck", "card", "question", "state", "due", "recall"}], "new", "next"}; dates are UTC."""
    due = [
        {
            "deck": place.deck.name,
            "card": place.card.number,
            "question": place.card.question,
            "state": queue.schedule.state(place.key),
            "due": stamp(queue.schedule.due(place.key)),
            "recall": queue.schedule.recall(place.key, now),
        }
        for place in queue.due(now)
    ]
    return {"now": stamp(now), "due": due, "new": len(queue.new(now)), "next": stamp(queue.when())}


def statistics(decks: Sequence[Deck], answers: Sequence[Answer], now: datetime) -> dict[str, Any]:
    """Return counts of answers and cards; `recalled` is the share rated 3 or more of answers to cards in review.

    `expected` is the mean probability that the schedule gave to these, and `streak` the number of days running, today
    or yesterday the last, with an answer.
    """
    names = {deck.name for deck in decks}
    answers = [answer for answer in answers if answer.deck in names]
    schedule, known, expected = Schedule(), [], []
    for answer in answers:
        if schedule.state(answer.key) == "review":
            known.append(answer.rating >= KNOWN)
            expected.append(schedule.recall(answer.key, answer.at) or 0.0)
        schedule.add(answer)
    days = {answer.at.astimezone().date() for answer in answers}
    today = now.astimezone().date()
    last = today if today in days else today - timedelta(days=1)
    streak = 0
    while last - timedelta(days=streak) in days:
        streak += 1
    return {
        "now": stamp(now),
        "answers": len(answers),
        "today": sum(answer.at.astimezone().date() == today for answer in answers),
        "days": len(days),
        "streak": streak,
        "ratings": {str(rating): sum(answer.rating == rating for answer in answers) for rating in SCALE},
        "reviews": len(known),
        "recalled": sum(known) / len(known) if known else None,
        "expected": sum(expected) / len(expected) if expected else None,
        "decks": [_of_deck(deck, answers, now) for deck in decks],
    }


def _of_deck(deck: Deck, answers: Sequence[Answer], now: datetime) -> dict[str, Any]:
    queue = Queue([deck], answers)
    states = [queue.schedule.state(place.key) for place in queue.places]
    return {
        "name": deck.name,
        "cards": len(states),
        "new": states.count("new"),
        "learning": states.count("learning") + states.count("relearning"),
        "review": states.count("review"),
        "due": len(queue.due(now)),
        "next": stamp(queue.when()),
    }


def stamp(at: datetime | None) -> str | None:
    """Return a date as JSON has it."""
    return None if at is None else at.isoformat(timespec="seconds")
