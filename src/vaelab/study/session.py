"""A session: a question, time to think, the answer, the answer in full, the experiment on a key, a rating."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from ..errors import VaelabError
from .deck import Deck
from .history import History
from .queue import NEW_PER_DAY, Place, Queue
from .schedule import QUESTION, SCALE, Answer, now_utc, until
from .screen import Screen

WORDS = "  ".join(f"{rating} {word}".strip() for rating, word in SCALE.items())


class Session:
    """Asks cards until none is due, or `q`, or no more input; every answer is on the disk before the next card.

    `experiment` runs the experiment of a number and returns what to show.
    """

    def __init__(
        self,
        decks: Sequence[Deck],
        history: History,
        screen: Screen,
        experiment: Callable[[int], str],
        *,
        new_per_day: int = NEW_PER_DAY,
        clock: Callable[[], datetime] = now_utc,
    ) -> None:
        self.history, self.screen, self.experiment, self.clock = history, screen, experiment, clock
        self.queue = Queue(decks, history.read(), new_per_day)
        self.answered = 0
        self.noted = 0

    def run(self) -> None:
        """Ask until there is nothing more to ask."""
        going = True
        while going:
            self._tell_notes()
            place = self.queue.next(self.clock())
            if place is None:
                return self._end()
            going = self._ask(place)
        return None

    def _ask(self, place: Place) -> bool:
        """Ask one card; return whether to go on."""
        now, card = self.clock(), place.card
        state, due, new = self.queue.schedule.state(place.key), len(self.queue.due(now)), len(self.queue.new(now))
        self.screen.show(f"{place.deck.name} {card.number}   {state}   {due} due, {new} new", "head")
        self.screen.show(card.question, "question")
        runs = "" if card.experiment is None else "[x] experiment  "
        hidden = [(card.answer, "answer")]
        if card.full:
            hidden.append((card.full, "full"))
        references = "\n".join(line for line in (card.paper, card.file) if line)
        while True:
            if len(hidden) == 1 + bool(card.full):
                prompt = f"[Enter] answer  {runs}[q] quit"
            else:
                prompt = f"{QUESTION}  {WORDS}\n{'[Enter] in full  ' if hidden else ''}{runs}[q] quit"
            key = self.screen.ask(prompt)
            if key is None or key == "q":
                return False
            if key == "x" and card.experiment is not None:
                self._experiment(card.experiment)
            elif key in ("", " ") and hidden:
                self.screen.show(*hidden.pop(0))
                if not hidden and references:
                    self.screen.show(references, "note")
            elif key.isdecimal() and int(key) in SCALE and (card.answer, "answer") not in hidden:
                self._rate(place, int(key))
                return True
            else:
                self.screen.show("that is no key here; a rating follows the answer", "note")

    def _rate(self, place: Place, rating: int) -> None:
        answer = Answer(self.clock(), *place.key, rating)
        for one in self.history.add(answer):
            self.queue.add(one)
        self.answered += 1
        due = self.queue.schedule.due(place.key)
        assert due is not None
        self.screen.show(f"saved: {rating}, again in {until(due, answer.at)}", "note")

    def _experiment(self, number: int) -> None:
        self.screen.show(f"experiment {number}: some seconds", "note")
        try:
            self.screen.show(self.experiment(number), "full")
        except VaelabError as error:
            self.screen.show(f"the experiment could not run: {error}", "note")

    def _end(self) -> None:
        now, when = self.clock(), self.queue.when()
        left = sum(place.key not in self.queue.begun for place in self.queue.places)
        words = "nothing is due" + ("" if when is None else f"; the next card in {until(when, now)}")
        more = f"; {left} new for other days (--new N for more today)" if left else ""
        self.screen.show(f"{words}{more}.", "note")

    def _tell_notes(self) -> None:
        for note in self.history.notes[self.noted :]:
            self.screen.show(note, "note")
        self.noted = len(self.history.notes)
