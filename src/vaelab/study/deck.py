"""A deck: cards with a question, an answer in one line, and the answer in full; the bundled one is a Markdown file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import DataError

BUNDLED = "vae"
HEADING = re.compile(r"## (\d+)\. (.+)")
REFERENCE = re.compile(r"- (\w+): (.+)")


@dataclass(frozen=True)
class Card:
    """One question. `answer` is its first paragraph, `full` what follows; `experiment` is the number of the experiment.

    Blank lines around texts are no part of them, so that every form of a deck gives back the same card. Raises
    DataError for a card without a question or an answer, or a number below 1.
    """

    number: int
    question: str
    answer: str
    full: str = ""
    paper: str = ""
    file: str = ""
    experiment: int | None = None

    def __post_init__(self) -> None:
        first, _, rest = tidied(self.answer).partition("\n\n")
        texts = {"question": tidied(self.question), "answer": first}
        for name, text in texts.items():
            if not text:
                raise DataError(f"card {self.number} has no {name}.")
        if self.number < 1:
            raise DataError(f"a card has the number {self.number}: expected 1 or more.")
        texts["full"] = "\n\n".join(part for part in (rest.strip("\n"), tidied(self.full)) if part)
        texts |= {"paper": self.paper.strip(), "file": self.file.strip()}
        for name, text in texts.items():
            object.__setattr__(self, name, text)


@dataclass(frozen=True)
class Deck:
    """A named list of cards, each with a number of its own: name and number say which card an answer was for."""

    name: str
    cards: tuple[Card, ...]

    def card(self, number: int) -> Card | None:
        """Return the card with this number, or None."""
        return next((card for card in self.cards if card.number == number), None)


def tidied(text: str) -> str:
    """Return a text with one kind of line end, no blanks at ends of lines, and at most one blank line, inside."""
    lines = (line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


@cache
def bundled() -> Deck:
    """Return the nineteen cards that come with the package."""
    path = Path(__file__).with_name("deck.md")
    return parse(path.read_text(encoding="utf-8"), path.name)


def parse(text: str, where: str) -> Deck:
    """Read a deck in Markdown: `# name`, then for each card `## 1. Question`, `> answer`, text, `- paper: ...`.

    Raises DataError with the line that is not as it must be.
    """
    lines = text.splitlines()
    if not lines or not lines[0].startswith("# "):
        raise DataError(f"{where}, line 1: expected '# name of the deck', got {shown(lines[0] if lines else '')}.")
    starts = [i for i, line in enumerate(lines) if line.startswith("## ")]
    if not starts:
        raise DataError(f"{where}: no card. A card begins with a line such as '## 1. Question'.")
    cards: list[Card] = []
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        card = _card(lines[start:end], where, start + 1)
        if any(other.number == card.number for other in cards):
            raise DataError(f"{where}, line {start + 1}: card {card.number} a second time.")
        cards.append(card)
    return Deck(lines[0][2:].strip(), tuple(cards))


def _card(lines: list[str], where: str, first: int) -> Card:
    """Read the lines of one card; `first` is the number of its first line."""
    heading = HEADING.fullmatch(lines[0])
    if heading is None:
        raise DataError(f"{where}, line {first}: expected '## number. question', got {shown(lines[0])}.")
    place = next((i for i, line in enumerate(lines) if i and line.strip()), None)
    if place is None or not lines[place].startswith("> "):
        at, got = (first, "nothing") if place is None else (first + place, shown(lines[place]))
        raise DataError(f"{where}, line {at}: expected '> answer in one line', got {got}.")
    body = lines[place + 1 :]
    references: dict[str, str] = {}
    while body and (not body[-1].strip() or REFERENCE.fullmatch(body[-1])):
        line = body.pop()
        if (found := REFERENCE.fullmatch(line)) is None:
            continue
        name, value = found.groups()
        number = first + place + 1 + len(body)
        if name not in ("paper", "file", "experiment") or name in references:
            raise DataError(f"{where}, line {number}: expected paper, file or experiment, each once, got {name!r}.")
        if name == "experiment" and not value.isdecimal():
            raise DataError(f"{where}, line {number}: expected the number of an experiment, got {shown(value)}.")
        references[name] = value
    experiment = references.pop("experiment", None)
    return Card(
        int(heading[1]),
        heading[2],
        lines[place][2:],
        "\n".join(body),
        **references,
        experiment=None if experiment is None else int(experiment),
    )


def shown(text: str) -> str:
    """Return a text in quotes, short enough for a message."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
