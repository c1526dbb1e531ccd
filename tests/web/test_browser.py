"""Every gesture of the explorer in a real browser, on a wide screen and on one of 390 px."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import PICTURES, opened_browser
from served import NASTY, Served, serving

import vaelab
from vaelab.cli import run as command

SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
READY_TABLE = "document.documentElement.dataset.ready === 'yes' && document.querySelector('#row-shown table') !== null"
READY = "document.documentElement.dataset.ready === 'yes' && document.querySelector('#pinned').children.length > 0"
PIXELS = """id => { const c = document.querySelector('#' + id + ' canvas');
    return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).filter((_, i) => i % 4 === 0) }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as made:
        yield made


class Watched:
    """A page with everything that it complained of and asked for."""

    def __init__(self, browser: Any, served: Served, size: str, scheme: str = "light", view: str = "") -> None:
        self.served = served
        self.context = browser.new_context(
            viewport=SIZES[size], color_scheme=scheme, has_touch=size == "phone", reduced_motion="reduce"
        )
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda m: self.problems.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.problems.append(str(e)))
        self.page.on("request", lambda r: self.asked.append(r.url))
        self.page.goto(served.server.start.address + (f"&{view}" if view else ""))
        self.until(READY)

    def until(self, script: str, arg: Any = None) -> None:
        """Wait until a script gives a truth; not by the browser's own waiting, which needs eval, which is refused."""
        for _ in range(400):
            if self.page.evaluate(script, arg):
                return
            self.page.wait_for_timeout(25)
        raise AssertionError(f"never true: {script[:200]}")

    def pixels(self, box: str) -> list[int]:
        return self.page.evaluate(PIXELS, box)

    def changed(self, box: str, before: list[int]) -> list[int]:
        """Wait until a picture is another, and return it."""
        self.until(f"([id, old]) => String(({PIXELS})(id)) !== old", [box, ",".join(map(str, before))])
        return self.pixels(box)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return a place of the screen from shares of the map's width and height."""
        box = self.page.locator("#map").bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def view(self) -> dict[str, str]:
        self.page.wait_for_timeout(250)
        text = self.page.evaluate("location.hash.slice(1)")
        return dict(part.split("=", 1) for part in text.split("&"))

    def close(self) -> None:
        base = f"http://127.0.0.1:{self.served.port}/"
        assert not self.problems, self.problems
        assert all(url.startswith((base, "data:,")) for url in self.asked), "a request left the machine"
        self.context.close()


@pytest.fixture(params=SIZES)
def opened(browser: Any, digits: Served, request: pytest.FixtureRequest) -> Iterator[Watched]:
    watched = Watched(browser, digits, request.param)
    watched.page.locator("#map").scroll_into_view_if_needed()
    yield watched
    if PICTURES:
        watched.page.screenshot(path=f"{PICTURES}/{request.node.name}.png", full_page=True)
    watched.close()


def as_bytes(served: Served, z: list[float]) -> list[int]:
    shown = served.explored.decode([z])
    assert isinstance(shown, bytes)
    return list(shown)


def test_pointing_decodes_there_and_a_click_pins(opened: Watched) -> None:
    page, before = opened.page, opened.pixels("hover")
    page.mouse.move(*opened.at(0.3, 0.4))
    page.mouse.move(*opened.at(0.6, 0.3))
    hover = opened.changed("hover", before)
    pinned = opened.pixels("pinned")
    page.mouse.click(*opened.at(0.75, 0.6))
    pinned = opened.changed("pinned", pinned)
    z = [float(v) for v in opened.view()["z"].split(",")]
    assert [i for i, v in enumerate(z) if v != 0] == sorted(opened.served.explored.order[:2]), "the others stand at 0"
    assert max(abs(a - b) for a, b in zip(pinned, as_bytes(opened.served, z))) <= 1
    assert max(abs(a - b) for a, b in zip(hover, pinned)) > 5
    assert "log p(z)" in page.inner_text("#where")


def test_a_drag_draws_a_path(opened: Watched) -> None:
    page = opened.page
    page.mouse.move(*opened.at(0.25, 0.5))
    page.mouse.down()
    page.mouse.move(*opened.at(0.5, 0.45), steps=4)
    page.mouse.move(*opened.at(0.75, 0.3), steps=4)
    page.mouse.up()
    opened.until("document.querySelectorAll('#strip canvas').length === 11")
    view = opened.view()
    for number, end in ((1, "from"), (11, "to")):
        shown = page.evaluate(PIXELS.replace("'#' + id + ' canvas'", "id"), f"#strip canvas:nth-child({number})")
        truth = as_bytes(opened.served, [float(v) for v in view[end].split(",")])
        assert max(abs(a - b) for a, b in zip(shown, truth)) <= 1
    page.select_option("#way", "spherical")
    opened.until("document.querySelector('#path-said').textContent.includes('spherical')")
    assert opened.view()["way"] == "spherical"


def test_every_gesture_by_the_keyboard(opened: Watched) -> None:
    page = opened.page
    page.focus("#map")
    before = opened.pixels("hover")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    hover = opened.changed("hover", before)
    page.keyboard.press("Enter")
    opened.until(f"String(({PIXELS})('pinned')) === String(({PIXELS})('hover'))")
    assert opened.pixels("pinned") == opened.pixels("hover") or hover
    page.keyboard.press("a")
    for _ in range(6):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("b")
    opened.until("document.querySelectorAll('#strip canvas').length === 11")
    page.keyboard.press("n")
    page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowLeft")
    view = opened.view()
    assert {"z", "from", "to", "row", "zoom"} <= set(view)
    page.keyboard.press("0")
    assert "zoom" not in opened.view()
    slider = page.locator("#sliders input").first
    slider.focus()
    pinned = opened.pixels("pinned")
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
    opened.changed("pinned", pinned)


def test_rows_are_shown_with_their_difference(opened: Watched) -> None:
    page, explored = opened.page, opened.served.explored
    page.click("#row-worst")
    worst = int(explored.seen.error.argmax())  # type: ignore[union-attr]
    page.fill("#row", str(worst + 1))
    page.press("#row", "Enter")
    opened.until("document.querySelector('#row-said').textContent.includes(' 1 of ')")
    shown = [
        page.evaluate(PIXELS.replace("'#' + id + ' canvas'", "id"), f"#row-shown figure:nth-child({i}) canvas")
        for i in (1, 2)
    ]
    truth = explored.row(worst)
    assert shown[0] + shown[1] == list(truth)
    assert page.locator("#row-shown canvas").count() == 3
    pinned = opened.pixels("pinned")
    page.click("#row-pin")
    opened.changed("pinned", pinned)
    page.select_option("#held", "row")
    assert opened.view()["held"] == "row"


def test_axes_colours_and_curves(opened: Watched) -> None:
    page = opened.page
    for axes in (
        ("pca", "1,0")
        if opened.served.explored.order.index(1) < opened.served.explored.order.index(0)
        else ("pca", "0,1")
    ):
        page.select_option("#axes", axes)
        assert opened.view()["axes"] == axes
    for colour in ("error", "density", "none", "label"):
        page.select_option("#colour", colour)
        assert opened.view()["colour"] == colour
    page.locator("#legend button").nth(3).click()
    assert page.locator("#legend button[aria-pressed=true]").inner_text() == "3"
    assert page.locator("#curves svg").count() == 2
    kl = [float(t.split()[0]) for t in page.locator("#sliders .nats").all_inner_texts()]
    assert kl == sorted(kl, reverse=True)
    wide = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert wide, "the page scrolls sideways"


def test_the_view_lives_in_the_address_and_the_token_does_not(browser: Any, digits: Served) -> None:
    watched = Watched(browser, digits, "desktop", "dark", "axes=pca&colour=error&z=0.5,-1,0.25,0&row=7&zoom=0,0,2")
    page = watched.page
    assert "token" not in page.url
    assert watched.pixels("pinned") == as_bytes(digits, [0.5, -1, 0.25, 0])
    assert page.input_value("#row") == "7"
    assert page.input_value("#axes") == "pca"
    page.reload()
    watched.until(READY)
    assert watched.pixels("pinned") == as_bytes(digits, [0.5, -1, 0.25, 0])
    view = watched.view()
    assert (view["axes"], view["colour"], view["row"], view["zoom"]) == ("pca", "error", "7", "0,0,2")
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/dark.png", full_page=True)
    watched.close()


def test_an_address_of_nonsense_is_a_view_all_the_same(browser: Any, digits: Served) -> None:
    nonsense = "axes=9,9&colour=<b>&z=1,2&row=-4&zoom=1,1,-1&from=a,b,c,d&way=x&held=2"
    watched = Watched(browser, digits, "desktop", view=nonsense)
    assert watched.page.input_value("#axes") == "kl"
    watched.close()


def test_without_the_token_the_page_says_what_to_do(browser: Any, digits: Served) -> None:
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{digits.port}/")
    page.wait_for_selector("#alert:not([hidden])")
    assert "open the address" in page.inner_text("#alert")
    page.close()


@pytest.mark.parametrize("size", SIZES)
def test_a_table_is_decoded_to_cells_and_its_words_stay_text(browser: Any, table: Served, size: str) -> None:
    watched = Watched(browser, table, size)
    page = watched.page
    watched.until(READY_TABLE)
    assert page.locator("#pinned th[scope=row]").first.inner_text() == NASTY
    assert page.locator("#row-shown td").nth(3).inner_text().startswith("<b>")
    assert page.locator("main img, main b").count() == 0
    before = page.inner_text("#pinned")
    page.locator("#map").scroll_into_view_if_needed()
    page.mouse.click(*watched.at(0.8, 0.3))
    watched.until("old => document.querySelector('#pinned').innerText !== old", before)
    page.mouse.move(*watched.at(0.2, 0.4))
    page.mouse.down()
    page.mouse.move(*watched.at(0.7, 0.6), steps=5)
    page.mouse.up()
    watched.until("document.querySelectorAll('#strip thead th').length === 12")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/table-{size}.png", full_page=True)
    watched.close()


def test_draws_of_a_posterior_and_nearest_rows(opened: Watched) -> None:
    page = opened.page
    opened.until("document.querySelectorAll('#draws canvas').length === 8")
    said = page.inner_text("#posterior-said")
    assert " ± " in said
    first = opened.pixels("draws")
    page.click("#draw-again")
    opened.changed("draws", first)
    assert page.inner_text("#posterior-said") == said, "other draws of the same posterior"
    page.click("#nearest-find")
    opened.until("document.querySelectorAll('#nearest canvas').length === 5")
    far = [float(text) for text in page.locator("#nearest figcaption").all_inner_texts()]
    assert far == sorted(far)


def test_a_grid_of_what_the_map_shows(opened: Watched) -> None:
    page = opened.page
    page.select_option("#side", "9")
    page.click("#grid-draw")
    opened.until("document.querySelectorAll('#grid canvas').length === 81")
    middle = page.evaluate(PIXELS.replace("'#' + id + ' canvas'", "id"), "#grid canvas:nth-child(41)")
    assert max(abs(a - b) for a, b in zip(middle, as_bytes(opened.served, [0.0] * 4))) <= 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_t_sne_is_a_map_whose_places_are_rows(opened: Watched) -> None:
    page = opened.page
    before = opened.pixels("pinned")
    page.select_option("#axes", "tsne")
    opened.until("document.querySelector('#map').getAttribute('aria-label').includes('t-SNE')")
    page.mouse.click(*opened.at(0.4, 0.45))
    opened.changed("pinned", before)
    z = [float(v) for v in opened.view()["z"].split(",")]
    codes = opened.served.explored.seen.codes  # type: ignore[union-attr]
    assert abs(codes - z).max(1).min() < 2e-3, "the place is the code of a row"
    page.select_option("#axes", "kl")
    opened.until("!document.querySelector('#map').getAttribute('aria-label').includes('t-SNE')")


def test_runs_are_drawn_side_by_side(browser: Any, digits: Served) -> None:
    digits.explored.runs = [{"name": n, "rate": r, "distortion": d} for n, r, d in (("a", 3, 90), ("b<b>", 1, 110))]
    watched = Watched(browser, digits, "desktop")
    assert watched.page.locator("#runs circle").count() == 2
    assert watched.page.locator("#runs text").last.text_content() == "b<b>"
    digits.explored.runs = []
    watched.close()


@pytest.mark.parametrize("size", SIZES)
def test_the_curves_of_a_run_in_training_go_on(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    folder = tmp_path / "r"
    quick = ["--latent-dim", "2", "--hidden", "4", "--epochs", "3", "--no-report", "-q"]
    assert command(["train", "digits", *quick, "-o", str(folder)]) == 0
    monkeypatch.setattr("vaelab.web.questions.has_checkpoint", lambda folder: (folder / "going").exists())
    (folder / "going").touch()
    with serving(vaelab.load(folder)) as served:
        watched = Watched(browser, served, size)
        said, curve = "document.querySelector('#curves').textContent", "document.querySelector('#curves path[stroke]')"
        watched.until(f"{said}.includes('In training')")
        before = watched.page.evaluate(f"{curve}.getAttribute('d')")
        with open(folder / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"epoch": 9, "loss": 60.0, "elbo": -60.0, "kl": 2.0}) + "\n")
        watched.until(f"old => {curve}.getAttribute('d') !== old", before)
        if PICTURES:
            watched.page.screenshot(path=f"{PICTURES}/in-training-{size}.png", full_page=True)
        (folder / "going").unlink()
        watched.until(f"{said}.includes('Training has ended')")
        watched.close()


@pytest.mark.parametrize("size", SIZES)
def test_intervals_and_imputation_of_a_table(browser: Any, table: Served, size: str) -> None:
    watched = Watched(browser, table, size)
    page = watched.page
    watched.until("document.querySelectorAll('#pinned thead th').length === 3")
    assert " to " in page.locator("#pinned tbody tr").first.locator("td").last.inner_text()
    page.check("#hide-1")
    watched.until("document.querySelector('#cell-1').textContent.includes('%')")
    assert page.locator("#cell-1").inner_text().startswith("<b>")
    page.check("#hide-2")
    watched.until("document.querySelector('#cell-2').textContent.includes(' to ')")
    assert page.inner_text("#impute-said").startswith("2 hidden")
    page.uncheck("#hide-1")
    assert page.inner_text("#cell-1") == ""
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/impute-{size}.png", full_page=True)
    watched.close()
