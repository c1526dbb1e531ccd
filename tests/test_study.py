"""The study deck: dates against the fsrs library, a history that survives, decks that come back as they went."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaelab.errors import DataError, EnvironmentFault, UsageError
from vaelab.experiments import EXPERIMENTS
from vaelab.study import Answer, Card, Deck, History, Schedule, Session, bundled, due_list, history, statistics
from vaelab.study.anki import guid
from vaelab.study.deck import parse
from vaelab.study.exchange import from_csv, from_text, to_csv, to_text
from vaelab.study.queue import Queue
from vaelab.study.schedule import until

ROOT = Path(__file__).parents[1]
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SMALL = Deck("small", tuple(Card(n, f"question {n}", f"answer {n}") for n in range(1, 8)))


def test_the_deck_has_nineteen_cards_that_name_what_exists() -> None:
    cards = bundled().cards
    assert [card.number for card in cards] == list(range(1, 20)) == sorted(EXPERIMENTS)
    for card in cards:
        assert card.experiment == card.number
        assert (ROOT / card.file).is_file(), card.file
        assert "\n" not in card.answer
        assert card.full
        assert re.search(r"section|appendix", card.paper)
        assert max(map(len, card.full.splitlines())) <= 125


def random_history(dice: random.Random, cards: int = 3, answers: int = 12) -> list[Answer]:
    at, made = START, []
    for _ in range(answers):
        at += timedelta(seconds=dice.choice((30, 700, 40_000, 90_000, 600_000, 5_000_000)) * dice.random())
        made.append(Answer(at, "small", dice.randint(1, cards), dice.randint(1, 5)))
    return made


def test_dates_are_those_of_the_fsrs_library_on_a_thousand_histories(tmp_path: Path) -> None:
    """The library is driven here by hand, with the mapping written out; ours comes by way of lines of the history."""
    again, hard, good, easy = fsrs.Rating.Again, fsrs.Rating.Hard, fsrs.Rating.Good, fsrs.Rating.Easy
    meaning, scheduler, dice = (
        [None, again, again, hard, good, easy],
        fsrs.Scheduler(enable_fuzzing=False),
        random.Random(0),
    )
    states = set()
    for _ in range(1000):
        answers, cards = random_history(dice), {}
        for answer in answers:
            card = cards.get(answer.card) or fsrs.Card(card_id=answer.card)
            cards[answer.card], _ = scheduler.review_card(card, meaning[answer.rating], answer.at)
        ours = Schedule(history.parse(history.written(answer), "") for answer in answers)
        for number, card in cards.items():
            key = ("small", number)
            assert ours.due(key) == card.due
            assert ours.memory[key].stability == card.stability
            assert ours.memory[key].difficulty == card.difficulty
            assert ours.recall(key, answers[-1].at) == scheduler.get_card_retrievability(card, answers[-1].at)
            states.add(ours.state(key))
    assert states == {"learning", "review", "relearning"}


def test_first_dates_by_hand() -> None:
    """Again after 1 minute, hard after 5.5, good after 10; easy after the 8.2956 days of FSRS-6, rounded."""
    waits = [Schedule().add(Answer(START, "small", 1, rating)) - START for rating in range(1, 6)]
    assert [wait.total_seconds() for wait in waits] == [60, 60, 330, 600, 8 * 86400]
    assert [until(START + wait, START) for wait in waits] == ["1 min", "1 min", "6 min", "10 min", "8 days"]
    assert until(START + timedelta(minutes=59.8), START) == "1 h"
    assert until(START + timedelta(hours=23.6), START) == "1 day"


def test_the_history_comes_back_and_others_are_seen(tmp_path: Path) -> None:
    path, answers = tmp_path / "a" / "h.jsonl", random_history(random.Random(1))
    one, other = History(path), History(path)
    assert one.read() == []
    assert one.add(answers[0]) == answers[:1]
    assert other.add(answers[1]) == answers[:2]
    assert one.add(answers[2]) == answers[1:3]
    assert one.read() == []
    assert History(path).read() == answers[:3]
    assert len(path.read_bytes().splitlines()) == 3


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    def write(card: int) -> None:
        file = History(tmp_path / "h")
        for rating in (1, 2, 3, 4, 5) * 10:
            file.add(Answer(START, "small", card, rating))

    threads = [threading.Thread(target=write, args=(card,)) for card in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = History(tmp_path / "h").read()
    for card in range(1, 5):
        assert [answer.rating for answer in found if answer.card == card] == [1, 2, 3, 4, 5] * 10


def test_a_line_cut_short_anywhere_is_taken_off_with_a_word(tmp_path: Path) -> None:
    path, (first, second, third) = tmp_path / "h", random_history(random.Random(2), answers=3)
    line = history.written(second)
    for cut in range(1, len(line) + 1):
        path.write_bytes(history.written(first) + line[:cut])
        whole = cut >= len(line) - 1  # only its end is missing, or nothing
        file = History(path)
        assert file.read() == ([first, second] if whole else [first])
        assert bool(file.notes) == (not whole)
        assert file.add(third) == [third]
        assert History(path).read() == ([first, second, third] if whole else [first, third])
        assert all("cut short" in note and str(path) in note for note in file.notes)


@pytest.mark.parametrize(
    "line",
    ["{}", "[1]", "x", '{"v": 1, "at": "2026-03-01T12:00:00+00:00", "deck": "vae", "card": 1, "rating": 6}',
     '{"v": 1, "at": "never", "deck": "vae", "card": 1, "rating": 3}'],
)  # fmt: skip
def test_a_whole_line_that_is_no_answer_is_refused_by_its_number(line: str, tmp_path: Path) -> None:
    path = tmp_path / "h"
    path.write_bytes(history.written(Answer(START, "vae", 1, 3)) + line.encode() + b"\n")
    with pytest.raises(DataError, match="h, line 2: no answer"):
        History(path).read()
    path.write_text('{"v": 2}\n')
    with pytest.raises(DataError, match="newer version"):
        History(path).read()


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "h"
    History(path).add(Answer(START, "vae", 1, 3))
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(history.os, "fsync", full)
    with pytest.raises(EnvironmentFault, match=r"No space left on device\. The last answer is not saved"):
        History(path).add(Answer(START, "vae", 2, 3))
    assert path.read_bytes() == before


def test_kills_at_any_moment_lose_no_answered_card() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "kill_learn.py"), "--times", "100"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 kills" in done.stdout
    assert not re.search(r"\b0 (answers|lines)", done.stdout), done.stdout


class Script:
    """A screen that gives keys and keeps what was shown."""

    def __init__(self, keys: str) -> None:
        self.keys, self.seen = list(keys), []

    def show(self, text: str, style: str) -> None:
        self.seen.append((style, text))

    def ask(self, prompt: str) -> str | None:
        return self.keys.pop(0).strip() if self.keys else None


def test_a_session_asks_due_cards_then_new_ones_and_then_those_in_learning(tmp_path: Path) -> None:
    clock, file, before = [START], History(tmp_path / "h"), History(tmp_path / "h")
    before.add(Answer(START - timedelta(days=9), "small", 5, 5))  # due since a day
    before.add(Answer(START - timedelta(days=60), "small", 6, 5))  # due since 52
    script = Script(" 4" * 30)
    session = Session([SMALL], file, script, str, new_per_day=2, clock=lambda: clock[0])
    session.run()
    heads = [text.split("  ")[0] for style, text in script.seen if style == "head"]
    # good twice: out of learning
    assert heads == [f"small {n}" for n in (6, 5, 1, 2, 1, 2)]
    assert session.answered == 6
    assert script.seen[-1][1].startswith("nothing is due; the next card in 2 days; 3 new for other days")
    again = Session([SMALL], History(tmp_path / "h"), Script(" 4 4"), str, new_per_day=2, clock=lambda: clock[0])
    again.run()
    assert again.answered == 0
    clock[0] += timedelta(days=1)
    again.run()
    assert again.answered == 2


def test_a_rating_follows_the_answer_and_the_experiment_runs_in_place(tmp_path: Path) -> None:
    ran: list[int] = []
    script = Script("4x  x9?3q")
    session = Session(
        [bundled()], History(tmp_path / "h"), script, lambda n: ran.append(n) or f"report {n}", new_per_day=9
    )
    session.run()
    assert ran == [1, 1]
    assert [answer.rating for answer in History(tmp_path / "h").read()] == [3]
    styles = " ".join(style for style, _ in script.seen[:11])
    assert styles == "head question note note full answer full note note full note"
    card = bundled().cards[0]
    assert ("answer", card.answer) in script.seen
    assert ("full", card.full) in script.seen
    assert ("note", f"{card.paper}\n{card.file}") in script.seen


def test_an_interrupted_session_keeps_what_was_answered(tmp_path: Path) -> None:
    class Impatient(Script):
        def ask(self, prompt: str) -> str | None:
            if not self.keys:
                raise KeyboardInterrupt
            return super().ask(prompt)

    session = Session([SMALL], History(tmp_path / "h"), Impatient(" 4 2 "), str)
    with pytest.raises(KeyboardInterrupt):
        session.run()
    assert [answer.rating for answer in History(tmp_path / "h").read()] == [4, 2]


def test_statistics_by_hand() -> None:
    """Card 1: easy, remembered after 9 days, forgotten 30 days later. Card 2: one answer, today."""
    day = timedelta(days=1)
    now = START + 39 * day
    answers = [Answer(START, "small", 1, 5), Answer(START + 9 * day, "small", 1, 4), Answer(now, "small", 1, 2),
               Answer(now, "small", 2, 3), Answer(now, "other", 1, 5)]  # fmt: skip
    found = statistics([SMALL], answers, now)
    assert (found["answers"], found["today"], found["days"], found["streak"]) == (4, 2, 3, 1)
    assert found["ratings"] == {"1": 0, "2": 1, "3": 1, "4": 1, "5": 1}
    assert (found["reviews"], found["recalled"]) == (2, 0.5)
    assert 0.5 < found["expected"] < 0.95
    assert found["decks"] == [{"name": "small", "cards": 7, "new": 5, "learning": 2, "review": 0, "due": 0,
                               "next": (now + timedelta(minutes=5.5)).isoformat(timespec="seconds")}]  # fmt: skip
    later = due_list(Queue([SMALL], answers[:-1]), now + day)
    assert [one["card"] for one in later["due"]] == [2, 1]
    assert later["new"] == 5
    assert all(0 < one["recall"] < 1 for one in later["due"])


words = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), include_characters="\n,;\"'|"), max_size=60)
some = words.filter(lambda text: text.strip() != "")


@st.composite
def decks(draw: st.DrawFn) -> Deck:
    numbers = draw(st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True))
    number = st.none() | st.integers(1, 19)
    return Deck(
        "own", tuple(Card(n, draw(some), draw(some), draw(words), draw(words), "", draw(number)) for n in numbers)
    )


@given(decks())
@settings(deadline=None, max_examples=150)
def test_decks_come_back_from_csv_and_from_text(deck: Deck) -> None:
    assert from_csv(to_csv(deck), "own", "f") == deck
    try:
        text = to_text(deck)
    except DataError as error:
        assert "Use .csv" in str(error)  # noqa: PT017
        return
    bare = [replace(card, paper="", file="", experiment=None) for card in deck.cards]
    assert list(from_text(text, "own", "f").cards) == bare


def test_the_bundled_deck_comes_back() -> None:
    deck = bundled()
    assert from_csv(to_csv(deck), "vae", "f") == deck
    bare = tuple(replace(card, paper="", file="", experiment=None) for card in deck.cards)
    assert from_text(to_text(deck), "vae", "f").cards == bare


EXPORT = """1
Q
What is an encoder?
It has two lines.
A
A network.

1. from x
2. to z
How well did you know this?
1
Not at all
2
3
4
5
Perfectly

2
Q
And 3?
A
Yes
How well did you know this?
1 not at all
2
3
4
5 = perfectly
"""


def test_plain_text_with_the_lines_of_a_rating() -> None:
    deck = from_text("\ufeff" + EXPORT.replace("\n", "\r\n"), "own", "f")
    assert deck.cards == (
        Card(1, "What is an encoder?\nIt has two lines.", "A network.", "1. from x\n2. to z"),
        Card(2, "And 3?", "Yes"),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "f: no card"),
        ("hello\n1\nQ\na\nA\nb", "line 1: expected the number of a card, then a line Q, got 'hello'"),
        ("\n1\nQ\na\nb\n", "line 2: card 1 has no line A below its question"),
        ("1\nQ\nA\nb\n", "line 1: card 1 has no question"),
        ("1\nQ\na\nA\n\n2\nQ\na\nA\nb", "line 1: card 1 has no answer"),
        ("1\nQ\na\nA\nb\n1\nQ\na\nA\nb", "line 6: card 1 a second time"),
        ("0\nQ\na\nA\nb", "line 1: a card has the number 0"),
        (EXPORT.replace("Perfectly", "Superbly"), "line 17: expected the options 1 to 5 or the next card, got"),
    ],
)  # fmt: skip
def test_plain_text_that_is_malformed_is_refused_by_line(text: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        from_text(text, "own", "f")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: expected a header with question and answer, got ''"),
        ("question,reply\n", "line 1: expected a header"),
        ("question,answer,note\n", "line 1: expected columns of"),
        ("question,answer\n", "f: no card"),
        ('question,answer\na,b\n"c\nd",e\nf\n', "line 5: expected 2 fields, got 1"),
        ("question,answer\na,\n", "line 2: card 1 has no answer"),
        ("number,question,answer\nx,a,b\n", "line 2: expected a whole number as number, got 'x'"),
        ("number;question;answer\n1;a;b\n1;a;b\n", "line 3: card 1 a second time"),
        ('question,answer\n"a,b\n', "line 2: unexpected end of data"),
    ],
)
def test_csv_that_is_malformed_is_refused_by_line(text: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        from_csv(text, "own", "f")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: expected '# name of the deck'"),
        ("# d\n", "f: no card"),
        ("# d\n## Question\n", "line 2: expected '## number. question'"),
        ("# d\n\n## 1. Question\n\nanswer\n", "line 5: expected '> answer in one line'"),
        ("# d\n## 1. Question\n", "line 2: expected '> answer in one line', got nothing"),
        ("# d\n## 1. Q\n> a\n\n- paper: p\n- paper: q\n", "line 5: expected paper, file or experiment, each once"),
        ("# d\n## 1. Q\n> a\ntext\n- experiment: two\n", "line 5: expected the number of an experiment"),
        ("# d\n## 1. Q\n> a\n## 1. Q\n> a\n", "line 4: card 1 a second time"),
    ],
)
def test_a_malformed_deck_is_refused_by_line(text: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        parse(text, "f")


def test_identities_for_anki_do_not_follow_the_text() -> None:
    card = SMALL.cards[0]
    assert guid(SMALL, card) == guid(SMALL, replace(card, question="other", answer="words"))
    assert len({guid(deck, card) for deck in (SMALL, bundled()) for card in deck.cards}) == 26
    assert (
        guid(bundled(), bundled().cards[0]) == "6bfe52479254d117774e"
    )  # fixed for good: else every import doubles the deck


def test_unknown_decks_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from vaelab.study import shelf

    monkeypatch.setenv("VAELAB_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"no deck 'vea'. Did you mean vae\?"):
        shelf.deck("vea")
    for name in ("../x", "", ".x", "vae", "a/b", "x."):
        (tmp_path / "a.txt").write_text("1\nQ\na\nA\nb")
        with pytest.raises(UsageError, match="cannot name a deck"):
            shelf.import_deck(tmp_path / "a.txt", name)
