"""The study page in a browser: think, reveal, rate by the history of the terminal; live experiments; hostile asks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from browsing import PICTURES, opened_browser

from vaelab.cli import run as command
from vaelab.errors import UsageError
from vaelab.experiments.live import LIVE
from vaelab.study import Answer, History, bundled
from vaelab.study.desk import Desk, application
from vaelab.web import Server

SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Lesson:
    """A study page over a history of its own, served."""

    def __init__(self, path: Path) -> None:
        self.path, self.now = path, NOON
        self.desk = Desk([bundled()], History(path), clock=lambda: self.now)
        self.server = Server(application(self.desk))
        self.thread = Thread(target=self.server.run)
        self.thread.start()
        base = f"http://127.0.0.1:{self.server.start.port}"
        headers = {"x-vaelab-token": self.server.start.token}
        self.client = httpx.Client(base_url=base, headers=headers, trust_env=False, timeout=30)

    def close(self) -> None:
        self.client.close()
        self.server.stop()
        self.thread.join(10)


@pytest.fixture
def lesson(tmp_path: Path) -> Iterator[Lesson]:
    made = Lesson(tmp_path / "history.jsonl")
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as made:
        yield made


def until(page: Any, script: str, arg: Any = None) -> None:
    for _ in range(800):
        if page.evaluate(script, arg):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"never true: {script[:200]}")


def opened(browser: Any, lesson: Lesson, size: str, view: str = "", scheme: str = "light") -> tuple[Any, list[str]]:
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce")
    page, problems = context.new_page(), []
    base = f"http://127.0.0.1:{lesson.server.start.port}/"
    page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.on("request", lambda r: None if r.url.startswith((base, "data:,", "blob:")) else problems.append(r.url))
    page.goto(lesson.server.start.address + view)
    until(page, "document.documentElement.dataset.ready === 'yes'")
    return page, problems


@pytest.mark.parametrize("size", SIZES)
def test_think_reveal_rate_and_the_next(browser: Any, lesson: Lesson, size: str) -> None:
    page, problems = opened(browser, lesson, size)
    card = bundled().cards[0]
    assert page.inner_text("#question") == card.question
    assert not page.locator("#answer-box").is_visible()
    until(page, "document.querySelectorAll('#charts svg').length === 1")
    page.keyboard.press("Enter")
    assert page.inner_text("#answer") == card.answer
    assert page.locator(".formula math").count() == 2
    assert page.inner_text("#where code") == card.file
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/study-{size}.png", full_page=True)
    page.locator("#question").focus()
    page.keyboard.press("4")
    until(page, "document.querySelector('#rated').textContent.startsWith('Saved: 4. Again in ')")
    answers = History(lesson.path).read()
    assert [(a.key, a.rating, a.at) for a in answers] == [(("vae", 1), 4, NOON)]
    assert page.evaluate("document.activeElement.id") == "next"
    page.keyboard.press("Enter")
    until(page, "text => document.querySelector('#question').textContent === text", bundled().cards[1].question)
    assert page.inner_text("#statistics").startswith("1 answers, 1 today")
    assert not problems
    page.context.close()


def test_what_the_terminal_adds_is_seen_and_dates_are_equal(lesson: Lesson) -> None:
    told = lesson.client.get("/api/desk").json()
    assert told["next"] == 0
    other = History(lesson.path)
    other.add(Answer(NOON - timedelta(days=3), "vae", 1, 5))
    due = lesson.client.post("/api/rate", json={"place": 0, "rating": 3}).json()["found"]["due"]
    told = lesson.client.get("/api/desk").json()
    assert told["statistics"]["answers"] == 2
    from vaelab.study import Schedule

    assert datetime.fromisoformat(due) == Schedule(History(lesson.path).read()).due(("vae", 1)).replace(microsecond=0)


def test_every_formula_of_the_deck_is_set_with_all_its_letters(browser: Any, lesson: Lesson) -> None:
    page, problems = opened(browser, lesson, "desktop")
    greek = {"theta": "θ", "phi": "ϕ", "eps": "ε", "beta": "β"}

    def letters(text: str) -> str:
        text = re.sub(r"[A-Za-z]+", lambda word: greek.get(word[0], word[0]), text)
        flat = text.translate(str.maketrans({"Σ": "∑", "²": "2", "ᵀ": "⊤", "*": "∗", "𝔼": "E", "-": "−", "…": "..."}))
        return "".join(sorted(re.sub(r"[\s_{}]", "", flat.replace("...", ""))))

    for place, card in enumerate(bundled().cards):
        page.locator("#all button").nth(place).click()
        until(page, "text => document.querySelector('#question').textContent === text", card.question)
        page.click("#reveal")
        lines = [line for line in card.full.split("\n") if line.startswith("    ")]
        shown = page.locator(".formula .line").evaluate_all("all => all.map((one) => one.textContent)")
        assert [letters(text) for text in shown] == [letters(line) for line in lines], card.number
        assert page.locator("#full").inner_text().strip() or not card.full
    assert not problems
    page.context.close()


@pytest.mark.parametrize("size", SIZES)
def test_the_slider_retrains_and_keeps_what_was_tried(browser: Any, lesson: Lesson, size: str) -> None:
    page, problems = opened(browser, lesson, size, "&card=7", "dark")
    until(page, "document.querySelectorAll('#charts circle').length === 1")
    first = page.inner_text("#live-said")
    page.locator("#control-beta").focus()
    page.keyboard.press("End")
    until(page, "old => document.querySelector('#live-said').textContent !== old", first)
    assert page.inner_text("#live-said") == LIVE[7](beta=20.0).text
    assert page.locator("#charts circle").count() == 2
    assert page.locator("#charts .digits canvas").count() == 2
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/study-live-{size}.png", full_page=True)
    assert not problems
    page.context.close()


def test_the_full_experiment_is_drawn(browser: Any, lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    lesson.desk.pictures[4] = LIVE_PICTURE
    page, problems = opened(browser, lesson, "desktop", "&card=4")
    assert page.inner_text("#command") == "vaelab experiment 4"
    page.click("#picture-draw")
    until(page, "document.querySelector('#picture img')?.naturalWidth > 0")
    assert not problems
    page.context.close()


LIVE_PICTURE = bytes.fromhex(  # one white pixel
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8ffff3f0005fe02fe0def46b8"
    "0000000049454e44ae426082"
)


def test_hostile_asks_are_refused_in_one_line(lesson: Lesson) -> None:
    def status(kind: str, body: Any) -> tuple[int, str]:
        answer = lesson.client.post(f"/api/{kind}", json=body)
        return answer.status_code, answer.text

    for kind, body, said in (
        ("card", {"place": 19}, "0 to 18"), ("card", {"place": -1}, "0 to 18"),
        ("card", {"place": "1"}, "whole number"),
        ("card", {}, "missing"), ("card", {"place": 0, "path": "/etc"}, "unknown field"),
        ("rate", {"place": 0, "rating": 6}, "1 to 5"), ("rate", {"place": 0, "rating": True}, "1 to 5"),
        ("live", {"place": 0, "choices": []}, "one number for each"), ("live", {"place": 0, "choices": [99]}, "lists"),
        ("live", {"place": 0, "choices": [0] * 1000}, "at most 2"), ("live", {"place": 0, "choices": 0}, "at most 2"),
        ("live", {"place": 0, "choices": [0.5]}, "whole number"),
    ):  # fmt: skip
        code, text = status(kind, body)
        assert code == 422, (kind, body)
        assert said in json.loads(text)["error"], text
    bare = httpx.get(f"http://127.0.0.1:{lesson.server.start.port}/api/desk", trust_env=False)
    assert bare.status_code == 401
    assert lesson.client.get("/explorer.js").status_code == 404
    assert not lesson.path.exists(), "nothing was written"


def test_a_deck_of_one_s_own_has_no_live_experiment(tmp_path: Path) -> None:
    from vaelab.study import Card, Deck

    own = Deck("mine", (Card(1, "<b>why?</b>", "because", experiment=1), Card(2, "who?", "me")))
    desk = Desk([own], History(tmp_path / "history.jsonl"))
    assert desk.card(0)["live"] is None
    assert desk.card(1)["experiment"] is None
    with pytest.raises(UsageError, match="no experiment"):
        desk.picture(1)


def test_the_command_asks_for_one_thing(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["learn", "--web", "--stats"]) == 2
    assert "one at a time" in capsys.readouterr().err
    assert command(["learn", "--port", "8000"]) == 2
    assert "--web" in capsys.readouterr().err
