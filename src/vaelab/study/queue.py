"""Which card is next: those that are due, then new ones, then those in learning that are nearly due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from .deck import Card, Deck
from .schedule import Answer, Key, Schedule

NEW_PER_DAY = 5


@dataclass(frozen=True)
class Place:
    """A card in its deck."""

    deck: Deck
    card: Card

    @property
    def key(self) -> Key:
        """How answers name it."""
        return self.deck.name, self.card.number


class Queue:
    """Cards of decks in the order in which they are asked, as far as answers say. A day is one of the local clock."""

    def __init__(self, decks: Sequence[Deck], answers: Iterable[Answer] = (), new_per_day: int = NEW_PER_DAY) -> None:
        self.places = [Place(deck, card) for deck in decks for card in deck.cards]
        self.keys = {place.key for place in self.places}
        self.new_per_day = new_per_day
        self.schedule = Schedule()
        self.begun: dict[Key, datetime] = {}  # when each card was answered first
        self.last: Key | None = None
        for answer in answers:
            self.add(answer)

    def add(self, answer: Answer) -> datetime:
        """Take in an answer; return when its card is due next, UTC."""
        self.begun.setdefault(answer.key, answer.at)
        self.last = answer.key
        return self.schedule.add(answer)

    def due(self, now: datetime) -> list[Place]:
        """Return the cards that are due, the longest due first."""
        found = [(due, i) for i, p in enumerate(self.places) if (due := self.schedule.due(p.key)) and due <= now]
        return [self.places[i] for _, i in sorted(found)]

    def new(self, now: datetime) -> list[Place]:
        """Return the new cards that may still begin today, in the order of their decks."""
        today = now.astimezone().date()
        begun = sum(at.astimezone().date() == today for key, at in self.begun.items() if key in self.keys)
        return [p for p in self.places if p.key not in self.begun][: max(0, self.new_per_day - begun)]

    def next(self, now: datetime) -> Place | None:
        """Return the card to ask now. One in learning may come up to twenty minutes early, but not twice running."""
        if ready := self.due(now) or self.new(now):
            return ready[0]
        soon = [(self.schedule.due(p.key), i) for i, p in enumerate(self.places) if self.schedule.soon(p.key, now)]
        early = [self.places[i] for _, i in sorted(soon, key=str) if self.places[i].key != self.last]
        return early[0] if early else None

    def when(self) -> datetime | None:
        """Return when the next of the begun cards is due, UTC; None if no card is begun."""
        return min((due for p in self.places if (due := self.schedule.due(p.key))), default=None)
