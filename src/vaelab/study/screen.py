"""Where a session is seen and answered: a terminal, key by key, or lines in and lines out, for a pipe or a dumb one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Protocol

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

LINE_END = ("\r", "\n")


class Screen(Protocol):
    """What a session needs: `style` is "head", "question", "answer", "full" or "note"."""

    def show(self, text: str, style: str) -> None:
        """Show a text."""

    def ask(self, prompt: str) -> str | None:
        """Return a key in lower case, "" for Enter, None when no more will come."""


class Lines:
    """A line for a key: its first letter counts."""

    def show(self, text: str, style: str) -> None:
        """Print the text, questions set off by a blank line."""
        print(("\n" if style == "head" else "") + printable(text), flush=True)

    def ask(self, prompt: str) -> str | None:
        """Print the prompt and read a line."""
        print(prompt, flush=True)
        line = sys.stdin.readline()
        return line.strip().lower()[:1] if line else None


class Terminal:
    """Keys as they are pressed; the answer in full set apart."""

    def __init__(self, key: Callable[[], str]) -> None:
        self.console, self.key = Console(highlight=False), key

    def show(self, text: str, style: str) -> None:
        """Show the text in the manner of its kind."""
        said = Text(printable(text))
        if style == "question":
            self.console.print(Panel(Text(printable(text), style="bold"), width=min(110, self.console.width)))
        elif style == "full":
            for line in said.split("\n"):
                if line.plain.startswith("    "):
                    line.stylize("cyan")
                self.console.print(line)
        else:
            self.console.print(said, style={"head": "dim", "answer": "bold green", "note": "dim"}[style])

    def ask(self, prompt: str) -> str | None:
        """Show the prompt and wait for a key."""
        self.console.print(Text(prompt, style="dim"))
        key = self.key()
        return None if key in ("", "\x04") else "" if key in LINE_END else key.lower()


def printable(text: str) -> str:
    """Return a text that cannot steer the terminal: a deck may come from anywhere."""
    return "".join(c if c.isprintable() or c == "\n" else " " if c == "\t" else "?" for c in text)


def here() -> Screen:
    """Return the screen of this process: a terminal where both ends are one that can do more than lines."""
    if os.environ.get("TERM") == "dumb" or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return Lines()
    try:
        import termios
        import tty
    except ImportError:  # Windows
        return Lines()

    ahead: list[str] = []  # keys that came together with one that was asked for

    def key() -> str:
        if ahead:
            return ahead.pop(0)
        before = termios.tcgetattr(sys.stdin)
        try:
            # keys at once, and those that were pressed before this moment stay; Ctrl-C still interrupts
            tty.setcbreak(sys.stdin, termios.TCSADRAIN)
            pressed = os.read(sys.stdin.fileno(), 64).decode(errors="replace")
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        if not pressed.startswith("\x1b"):  # an arrow key is several letters: one key that means nothing
            ahead.extend(pressed[1:])
            pressed = pressed[:1]
        return pressed

    return Terminal(key)
