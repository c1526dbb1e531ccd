"""The study page: the cards, their answers and dates as the terminal has them, and the live experiments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from starlette.routing import Router

from ..errors import UsageError
from ..experiments import find
from ..experiments.live import LIVE
from ..web import fields, pages
from ..web.latest import Latest
from .deck import Card, Deck
from .history import History
from .queue import NEW_PER_DAY, Place, Queue
from .schedule import QUESTION, SCALE, Answer, now_utc, until
from .statistics import stamp, statistics

SHARED = ("/api.js", "/dom.js", "/latest.js", "/explorer.css")  # files of the explorer that this page uses too


class Desk:
    """Decks and the history of their answers, as a page asks for them. An answer is on the disk before it is told."""

    def __init__(
        self,
        decks: Sequence[Deck],
        history: History,
        *,
        new_per_day: int = NEW_PER_DAY,
        clock: Callable[[], datetime] = now_utc,
    ) -> None:
        self.decks, self.history, self.clock, self.new = tuple(decks), history, clock, new_per_day
        self.answers = list(history.read())
        self.queue = Queue(self.decks, self.answers, new_per_day)
        self.pictures: dict[int, bytes] = {}

    def told(self) -> dict[str, Any]:
        """Return every card's question, state and date, which is next, and the statistics."""
        self._take(self.history.read())  # the terminal may have added some
        now, schedule = self.clock(), self.queue.schedule
        place = self.queue.next(now)
        cards = [
            {
                "deck": one.deck.name,
                "card": one.card.number,
                "question": one.card.question,
                "state": schedule.state(one.key),
                "due": stamp(schedule.due(one.key)),
                "in": None if (due := schedule.due(one.key)) is None else until(due, now),
            }
            for one in self.queue.places
        ]
        return {
            "cards": cards,
            "next": None if place is None else self.queue.places.index(place),
            "waiting": {"due": len(self.queue.due(now)), "new": len(self.queue.new(now))},
            "rating": {"question": QUESTION, "scale": SCALE},
            "statistics": statistics(self.decks, self.answers, now),
            "notes": self.history.notes,
        }

    def card(self, place: int) -> dict[str, Any]:
        """Return what is behind a question: the answer, short and in full, where it stands, the live experiment."""
        card = self._at(place).card
        live = LIVE.get(card.experiment or 0) if self._at(place).deck.name == "vae" else None
        return {
            "answer": card.answer,
            "full": card.full,
            "paper": card.paper,
            "file": card.file,
            "experiment": card.experiment,
            "live": live
            and {
                "what": live.what,
                "controls": [
                    {"name": c.name, "label": c.label, "values": c.values, "start": c.values.index(c.start)}
                    for c in live.controls
                ],
            },
        }

    def rate(self, place: int, rating: int) -> dict[str, Any]:
        """Write an answer; return when the card comes next. It is on the disk when this returns."""
        answer = Answer(self.clock(), *self._at(place).key, rating)
        self._take(self.history.add(answer))
        due = self.queue.schedule.due(answer.key)
        assert due is not None
        return {"due": stamp(due), "in": until(due, answer.at)}

    def live(self, place: int, choices: list[int]) -> dict[str, Any]:
        """Return the live experiment of a card for the values at these places of its controls' lists."""
        live = LIVE.get(self._experiment(place))
        if live is None or len(choices) != len(live.controls):
            raise UsageError("choices hold one number for each control of the card")
        if not all(0 <= i < len(c.values) for i, c in zip(choices, live.controls)):
            raise UsageError("choices hold places in the lists of the controls")
        return live(**{c.name: c.values[i] for i, c in zip(choices, live.controls)}).json()

    def picture(self, place: int) -> bytes:
        """Return the picture of the full experiment of a card, which is run if it was not yet: some seconds."""
        number = self._experiment(place)
        if number not in self.pictures:
            self.pictures[number] = find(number).run().picture()
        return self.pictures[number]

    def _at(self, place: int) -> Place:
        return self.queue.places[place]

    def _experiment(self, place: int) -> int:
        card: Card = self._at(place).card
        if card.experiment is None:
            raise UsageError(f"card {card.number} has no experiment")
        return card.experiment

    def _take(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            self.answers.append(answer)
            self.queue.add(answer)


def application(desk: Desk) -> Router:
    """Return the study page as an application; it stands behind a `Guard`, see `vaelab.web.Server`."""
    latest, place = Latest(), fields.whole(0, len(desk.queue.places) - 1)
    shared = {path: content for path, content in pages.static().items() if path in SHARED}
    routes = [
        pages.told("desk", desk.told),
        # a rating waits for nothing and gives way to nothing
        pages.asked(None, "card", {"place": place}, desk.card),
        pages.asked(None, "rate", {"place": place, "rating": fields.whole(1, 5)}, desk.rate),
        pages.asked(latest, "live", {"place": place, "choices": fields.wholes(2, 100)}, desk.live),
        pages.asked(latest, "picture", {"place": place}, desk.picture),
        *pages.files(shared | pages.static("vaelab.study", "page")),
    ]
    return Router(routes, redirect_slashes=False)
