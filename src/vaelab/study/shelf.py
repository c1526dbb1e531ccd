"""Where decks and the history of answers are: the user's data folder, or the one that VAELAB_HOME names."""

from __future__ import annotations

import os
import re
from pathlib import Path

from platformdirs import user_data_path

from ..durable import write_durably
from ..errors import DataError, EnvironmentFault, UsageError, suggest
from .anki import to_anki
from .deck import BUNDLED, Deck, bundled
from .exchange import from_csv, from_text, to_csv, to_text

NAME = re.compile(r"[\w][\w .-]{0,79}")


def home() -> Path:
    """Return the folder of what belongs to the user."""
    return Path(os.environ.get("VAELAB_HOME") or user_data_path("vaelab", appauthor=False))


def history_file() -> Path:
    """Return where answers are kept."""
    return home() / "study" / "history.jsonl"


def deck_file(name: str) -> Path:
    """Return where an imported deck is kept, as CSV."""
    return home() / "study" / "decks" / f"{name}.csv"


def names() -> list[str]:
    """Return the names of all decks, the bundled one first."""
    return [BUNDLED, *sorted(path.stem for path in deck_file("").parent.glob("*.csv") if NAME.fullmatch(path.stem))]


def deck(name: str) -> Deck:
    """Return a deck by name; UsageError for one that is not there."""
    if name == BUNDLED:
        return bundled()
    if name not in names():
        raise UsageError(f"no deck {name!r}.{suggest(name, names())}")
    return from_csv(_text(path := deck_file(name)), name, str(path))


def import_deck(path: Path, name: str | None = None, *, force: bool = False) -> Deck:
    """Read a deck from a .csv file or one of plain text, and keep it under a name (default: that of the file)."""
    name = path.stem if name is None else name
    if not NAME.fullmatch(name) or name != name.strip(" .") or name == BUNDLED:
        raise UsageError(f"{name!r} cannot name a deck of your own. Give --name with letters, digits, '-' or '_'.")
    reader = from_csv if path.suffix.lower() in (".csv", ".tsv") else from_text
    made = reader(_text(path), name, str(path))
    if deck_file(name).exists() and not force:
        raise UsageError(f"deck {name!r} exists. Use --force to replace it (its history stays), or another --name.")
    _put(deck_file(name), to_csv(made).encode())
    return made


def export_deck(deck: Deck, path: Path, *, force: bool = False) -> None:
    """Write a deck to an .apkg, .csv or .txt file."""
    if path.suffix.lower() not in (".apkg", ".csv", ".txt"):
        raise UsageError(f"{path}: expected a name that ends in .apkg (for Anki), .csv or .txt.")
    if path.exists() and not force:
        raise UsageError(f"{path} exists. Use --force to replace it.")
    if path.suffix.lower() == ".apkg":
        data = to_anki(deck)
    else:
        data = (to_csv(deck) if path.suffix.lower() == ".csv" else to_text(deck)).encode()
    write_durably(path, data)


def _put(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"{path.parent} cannot be made: {error.strerror or error}. Set VAELAB_HOME.") from error
    write_durably(path, data)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}. Save it as UTF-8.") from None
    except FileNotFoundError:
        raise DataError(f"no such file: {path}.") from None
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be read: {error.strerror or error}.") from error
