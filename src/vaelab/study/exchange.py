"""Decks as text that other programs give and take: CSV, and plain lines "number / Q / question / A / answer"."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..errors import DataError
from .deck import Card, Deck, shown
from .schedule import QUESTION

COLUMNS = ("number", "question", "answer", "full", "paper", "file", "experiment")
# what stands under the rating question in an export: "1", "1 not at all", "5 = perfectly", "1 2 3 4 5", ...
OPTION = re.compile(r"\s*(?:(?:[1-5]\s*)+[-=:.)(–—]*\s*)?(?:\(?\s*(?:not at all|perfectly)\s*\)?)?\s*", re.IGNORECASE)


def from_text(text: str, name: str, where: str) -> Deck:
    """Read a deck in plain lines; the lines of a rating after an answer are skipped.

    Each card is a line with its number, a line Q, the question, a line A, and the answer, up to the next number that
    stands before a Q. Raises DataError with the line that is not as it must be.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    starts = [i for i in range(len(lines)) if _begins_card(lines, i)]
    before = next((i for i in range(starts[0] if starts else len(lines)) if lines[i].strip()), None)
    if before is not None:
        got = shown(lines[before])
        raise DataError(f"{where}, line {before + 1}: expected the number of a card, then a line Q, got {got}.")
    ends = [*starts[1:], len(lines)]
    made = [(start + 1, partial(_text_card, lines, start, end, where)) for start, end in zip(starts, ends)]
    return _deck(name, made, where)


def _begins_card(lines: list[str], i: int) -> bool:
    following = next((line.strip() for line in lines[i + 1 :] if line.strip()), "")
    return lines[i].strip().isdecimal() and following == "Q"


def _text_card(lines: list[str], start: int, end: int, where: str) -> Card:
    here = [line.strip() for line in lines[start:end]]
    question = here.index("Q") + 1
    if "A" not in here[question:]:
        raise DataError(f"{where}, line {start + 1}: card {here[0]} has no line A below its question.")
    answer = here.index("A", question) + 1
    rating = next((i for i in range(answer, len(here)) if here[i].lower() == QUESTION.lower()), len(here))
    for i in range(rating + 1, len(here)):
        if not OPTION.fullmatch(here[i]):
            raise DataError(
                f"{where}, line {start + i + 1}: expected the options 1 to 5 or the next card, got {shown(here[i])}."
            )
    asked, told = ("\n".join(lines[start + a : start + b]) for a, b in ((question, answer - 1), (answer, rating)))
    return Card(int(here[0]), asked, told)


def to_text(deck: Deck) -> str:
    """Write a deck in plain lines: questions and answers, no references.

    Raises DataError for a card that would not be read back as it is, because one of its lines is a mark of this form.
    """
    blocks = []
    for card in deck.cards:
        answer = f"{card.answer}\n\n{card.full}" if card.full else card.answer
        block = f"{card.number}\nQ\n{card.question}\nA\n{answer}\n"
        kept = Card(card.number, card.question, card.answer, card.full)
        try:
            same = from_text(block, deck.name, "").cards == (kept,)
        except DataError:
            same = False
        if not same:
            raise DataError(f"card {card.number} has a line that plain text would take for a mark. Use .csv.")
        blocks.append(block)
    return "\n".join(blocks)


def from_csv(text: str, name: str, where: str) -> Deck:
    """Read a deck from a table whose first line names its columns: question and answer, and any of the others.

    Without a column `number` cards are numbered from 1. Raises DataError with the line that is not as it must be.
    """
    text = text.removeprefix("\ufeff")
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=max(",;\t", key=first.count))
    rows: list[tuple[int, list[str]]] = []
    begin = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((begin, row))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{where}, line {begin}: {error}.") from None
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    if not {"question", "answer"} <= set(header):
        raise DataError(f"{where}, line 1: expected a header with question and answer, got {shown(', '.join(header))}.")
    if unknown := [cell for cell in header if cell not in COLUMNS] or [c for c in header if header.count(c) > 1]:
        raise DataError(f"{where}, line 1: expected columns of {', '.join(COLUMNS)}, each once, got {unknown[0]!r}.")

    def card(place: int, line: int, row: list[str]) -> Card:
        if len(row) != len(header):
            raise DataError(f"{where}, line {line}: expected {len(header)} fields, got {len(row)}.")
        cells: dict[str, Any] = dict(zip(header, row))
        for column, default in (("number", place), ("experiment", None)):
            value = cells.get(column, "").strip()
            if value and not value.isdecimal():
                raise DataError(f"{where}, line {line}: expected a whole number as {column}, got {shown(value)}.")
            cells[column] = int(value) if value else default
        return Card(**cells)

    made = [(line, partial(card, place, line, row)) for place, (line, row) in enumerate(rows[1:], 1)]
    return _deck(name, made, where)


def to_csv(deck: Deck) -> str:
    """Write a deck as a table, with all that its cards have."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for card in deck.cards:
        writer.writerow(["" if (value := getattr(card, column)) is None else value for column in COLUMNS])
    return out.getvalue()


def _deck(name: str, cards: Sequence[tuple[int, Callable[[], Card]]], where: str) -> Deck:
    """Make the cards, each with its line for the message if it cannot be made; numbers are given once."""
    made: dict[int, Card] = {}
    for line, make in cards:
        try:
            card = make()
        except DataError as error:
            known = str(error).startswith(f"{where}, line")
            raise (error if known else DataError(f"{where}, line {line}: {error}")) from None
        if card.number in made:
            raise DataError(f"{where}, line {line}: card {card.number} a second time.")
        made[card.number] = card
    if not made:
        raise DataError(f"{where}: no card.")
    return Deck(name, tuple(made.values()))
