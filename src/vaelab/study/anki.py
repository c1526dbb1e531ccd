"""A deck as Anki's package. Identities are fixed, so that importing it again renews cards and doubles none."""

from __future__ import annotations

import hashlib
import html
import tempfile
from pathlib import Path

from ..errors import EnvironmentFault
from .deck import Card, Deck

FIELDS = ("Number", "Question", "Answer", "Full", "Paper", "File", "Experiment")
MODEL = 1_743_118_502  # of the note type: never change it
FRONT = "<p>{{Number}}. {{Question}}</p>"
BACK = (
    "{{FrontSide}}<hr id=answer><p>{{Answer}}</p>{{#Full}}<pre>{{Full}}</pre>{{/Full}}<p><small>{{Paper}}"
    "{{#File}}<br>{{File}}{{/File}}{{#Experiment}}<br>vaelab experiment {{Experiment}}{{/Experiment}}</small></p>"
)
STYLE = ".card { font-family: sans-serif; font-size: 18px; } pre { white-space: pre-wrap; text-align: left; }"


def identity(*words: str) -> int:
    """Return a number of 31 bits that words always give, as Anki's ids of decks are."""
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:4], "big") >> 1 | 1


def guid(deck: Deck, card: Card) -> str:
    """Return the identity of a note: name of the deck and number of the card, whatever its text is."""
    return hashlib.sha256(f"vaelab\0{deck.name}\0{card.number}".encode()).hexdigest()[:20]


def to_anki(deck: Deck) -> bytes:
    """Return an .apkg file. Raises EnvironmentFault where the extra is missing."""
    try:
        import genanki
    except ImportError:
        raise EnvironmentFault(
            "decks for Anki need genanki: pip install 'vaelab[anki]'. Or export to .csv, which Anki imports."
        ) from None
    template = {"name": "card", "qfmt": FRONT, "afmt": BACK}
    model = genanki.Model(MODEL, "vaelab", [{"name": name} for name in FIELDS], [template], css=STYLE)
    made = genanki.Deck(identity("vaelab", "deck", deck.name), f"vaelab: {deck.name}")
    for card in deck.cards:
        values = [getattr(card, name.lower()) for name in FIELDS]
        texts = [html.escape("" if value is None else str(value), quote=False) for value in values]
        texts[1], texts[2] = (text.replace("\n", "<br>") for text in texts[1:3])
        made.add_note(genanki.Note(model, texts, guid=guid(deck, card)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deck.apkg"
        genanki.Package(made).write_to_file(str(path))
        return path.read_bytes()
