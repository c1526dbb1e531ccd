"""The words of messages: cut and escaped values, numbers with their nouns."""

from __future__ import annotations

from collections.abc import Iterable


def show(value: object, limit: int = 40) -> str:
    """Return a value for a message: escaped, in double quotes if text, cut at `limit` characters."""
    text = repr(value) if not isinstance(value, str) else repr(value)[1:-1].replace("\\'", "'")
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return f'"{text}"' if isinstance(value, str) else text


def count(number: int, noun: str) -> str:
    """Return "1 row", "1,599 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some(names: Iterable[str], limit: int = 3) -> str:
    """Return the first few names, and " ..." where more follow."""
    listed = list(names)
    return ", ".join(show(n)[1:-1] for n in listed[:limit]) + (", ..." if len(listed) > limit else "")


def reason(error: Exception) -> str:
    """Return the first line of another library's message, escaped and cut."""
    lines = str(error).splitlines()
    return show(lines[0] if lines else type(error).__name__, 80)[1:-1]
