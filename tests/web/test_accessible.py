"""The accessibility rules of axe-core on every page, light and dark, wide and narrow: no serious finding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import opened_browser
from served import Served
from test_study_page import Lesson, until

from vaelab.web.onefile import page_of

SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as made:
        yield made


def findings(browser: Any, address: str, size: str, scheme: str, ready: str, click: tuple[str, ...] = ()) -> list[str]:
    """Return what axe calls serious or critical, each with the element that it is about."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python").Axe()
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(address)
    until(page, f"document.documentElement.dataset.ready === 'yes' && {ready}")
    for where in click:
        page.click(where)
    found = axe.run(page).response
    context.close()
    assert len(found["passes"]) > 15, "the rules were looked at"
    return [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in found["violations"] if v["impact"] in SERIOUS]


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_the_explorer(browser: Any, digits: Served, size: str, scheme: str) -> None:
    ready = "document.querySelectorAll('#draws canvas').length === 8"
    click = ("#grid-draw", "#nearest-find")
    assert not findings(browser, digits.server.start.address, size, scheme, ready, click)


def test_the_explorer_of_a_table(browser: Any, table: Served) -> None:
    ready = "document.querySelectorAll('#pinned thead th').length === 3"
    assert not findings(browser, table.server.start.address, "desktop", "light", ready)


def test_the_exported_page(browser: Any, digits: Served, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(page_of(digits.explored))
    assert not findings(browser, path.as_uri(), "desktop", "dark", "document.querySelector('#pinned canvas') !== null")


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "dark"), ("phone", "light")])
def test_the_study_page(browser: Any, tmp_path: Path, size: str, scheme: str) -> None:
    lesson = Lesson(tmp_path / "history.jsonl")
    try:
        ready = "document.querySelectorAll('#charts svg').length === 1"
        assert not findings(browser, lesson.server.start.address, size, scheme, ready, ("#reveal",))
    finally:
        lesson.close()
