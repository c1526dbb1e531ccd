"""HTML whose every text is escaped: only `element` makes markup, and it takes any other text for text."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

VOID = ("img", "meta")


class Html(str):
    """Markup, as `element` made it; any other text that is put into a page is escaped."""

    __slots__ = ()


def element(name: str, /, *children: object, **attributes: str | int | bool | None) -> Html:
    """Return <name attribute="...">children</name>, its texts and attributes escaped.

    A trailing underscore is dropped from an attribute's name (`class_`), other underscores are hyphens. An attribute
    that is None or False is left out; children that are None too.
    """
    given = [
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' if value is not True else f" {key}"
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    opening = f"<{name}{''.join(given)}>"
    return Html(opening) if name in VOID else Html(f"{opening}{joined(children)}</{name}>")


def joined(children: Iterable[object]) -> Html:
    """Return the children one after the other, texts escaped."""
    shown = (child if isinstance(child, Html) else html.escape(str(child)) for child in children if child is not None)
    return Html("".join(shown))


def paragraph(*children: object) -> Html:
    """Return <p>children</p>."""
    return element("p", *children)


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str, class_: str = "") -> Html:
    """Return a table with a caption and column headers; the first cell of each row is its header."""
    top = element("tr", *(element("th", cell, scope="col") for cell in head)) if head else None
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    inside = (element("caption", caption), top and element("thead", top), element("tbody", *body))
    # a wide table scrolls by itself, and a keyboard can reach it
    return element("div", element("table", *inside), class_=f"wide {class_}".strip(), tabindex=0)


def picture(content: bytes, alt: str, caption: object = None, *, kind: str = "png", class_: str = "") -> Html:
    """Return a figure that holds its picture: kind is "png" or "svg+xml"."""
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    image = element("img", src=source, alt=alt)
    below = None if caption is None else element("figcaption", caption)
    return element("figure", image, below, class_=class_ or None)
