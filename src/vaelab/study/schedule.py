"""When a card comes next: FSRS, by the `fsrs` library, from the five-point scale of the cards.

A rating of 1 or 2 is "again", 3 "hard", 4 "good", 5 "easy". The library's fuzz, a few random days more or less, is off:
equal answers give equal dates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fsrs import Card as Memory
from fsrs import Rating, Scheduler, State

QUESTION = "How well did you know this?"
SCALE = {1: "not at all", 2: "", 3: "", 4: "", 5: "perfectly"}
MEANING = {1: Rating.Again, 2: Rating.Again, 3: Rating.Hard, 4: Rating.Good, 5: Rating.Easy}
KNOWN = 3  # the lowest rating that is no "again"
AHEAD = timedelta(minutes=20)  # a card in learning that is due within it may come early, when there is no other

Key = tuple[str, int]  # name of the deck, number of the card


@dataclass(frozen=True)
class Answer:
    """That a card was answered: when (UTC), and how well it was known, 1 to 5."""

    at: datetime
    deck: str
    card: int
    rating: int

    @property
    def key(self) -> Key:
        """Which card of which deck."""
        return self.deck, self.card


class Schedule:
    """What answers say about when cards come next: replayed from them in their order, and nothing else is kept."""

    def __init__(self, answers: Iterable[Answer] = ()) -> None:
        self.scheduler = Scheduler(enable_fuzzing=False)
        self.memory: dict[Key, Memory] = {}
        for answer in answers:
            self.add(answer)

    def add(self, answer: Answer) -> datetime:
        """Take in an answer; return when its card is due next, UTC."""
        memory = self.memory.get(answer.key) or Memory(card_id=answer.card, due=answer.at)
        memory, _ = self.scheduler.review_card(memory, MEANING[answer.rating], answer.at)
        self.memory[answer.key] = memory
        return memory.due

    def due(self, key: Key) -> datetime | None:
        """When a card is due; None for one that was never answered."""
        return self.memory[key].due if key in self.memory else None

    def state(self, key: Key) -> str:
        """Return "new", "learning", "relearning" or "review"."""
        return self.memory[key].state.name.lower() if key in self.memory else "new"

    def soon(self, key: Key, now: datetime) -> bool:
        """Whether a card is in learning and due within twenty minutes."""
        memory = self.memory.get(key)
        return memory is not None and memory.state != State.Review and memory.due <= now + AHEAD

    def recall(self, key: Key, now: datetime) -> float | None:
        """Return the probability that the card is remembered now, by the model; None for a new one."""
        return self.scheduler.get_card_retrievability(self.memory[key], now) if key in self.memory else None


def now_utc() -> datetime:
    """Return the time now, as `fsrs` wants it."""
    return datetime.now(UTC)


def until(due: datetime, now: datetime) -> str:
    """Return the time from now to a date in words: "10 min", "5 h", "8 days"."""
    minutes = max(0.0, (due - now).total_seconds() / 60)
    for unit, size in (("min", 1.0), ("h", 60.0)):
        if round(minutes / size) < (60 if unit == "min" else 24):
            return f"{round(minutes / size)} {unit}"
    days = round(minutes / 1440)
    return f"{days} day" + "s" * (days != 1)
