"""The catalogue of faults: what a user can hand in, and what must come back.

An entry of the command line is a function that lays out a folder and returns the arguments; an entry of the library is
a function that asserts. Several entries may share a number: C60 is spaces *and* a leading dash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vaelab.cli import run

QUICK = ("--epochs", "2", "--hidden", "8", "--latent-dim", "2", "--no-report", "-q")


@dataclass(frozen=True)
class Models:
    """Trained runs, made when first asked for."""

    folder: Path

    @cached_property
    def digits(self) -> Path:
        """A run on the bundled digits."""
        return self._trained("digits", "digits")

    @cached_property
    def table(self) -> Path:
        """A run on a table of 40 rows with the columns height, weight, age."""
        table = self.folder / "people.csv"
        lines = [f"{150 + i}.5,{50 + (7 * i) % 40}.25,{20 + (11 * i) % 50}" for i in range(40)]
        table.write_text("height,weight,age\n" + "\n".join(lines) + "\n")
        return self._trained("table", str(table))

    @cached_property
    def people(self) -> Path:
        """A run on a mixed table of 60 rows: name (left out), town, born, height, children, member; with gaps."""
        towns, lines = ["Oslo", "Bergen", "Å", ""], []
        for i in range(60):
            height = "" if i % 9 == 4 else f"{150 + 7 * i % 40}.5"
            born, truth = f"19{70 + i % 30}-0{1 + i % 9}-1{i % 10}", "True" if i * 7 % 3 else "False"
            lines.append(f"N{i},{towns[i % 4]},{born},{height},{i * i % 5},{truth}")
        table = self.folder / "mixed.csv"
        table.write_text("name,town,born,height,children,member\n" + "\n".join(lines) + "\n", encoding="utf-8")
        return self._trained("people", str(table))

    def _trained(self, name: str, source: str) -> Path:
        out = self.folder / name
        assert run(["train", source, *QUICK, "--out", str(out)]) == 0
        return out


@dataclass(frozen=True)
class Place:
    """The folder in which a command is run, and models to use there."""

    folder: Path
    models: Models

    def write(self, name: str, content: str | bytes) -> str:
        """Put a file there and return its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def table(self, name: str, header: str, row: Callable[[int], str], rows: int = 40) -> str:
        """Put a text table there and return its name."""
        return self.write(name, "\n".join([header, *(row(i) for i in range(rows))]) + "\n")


Check = Callable[[Place, str, str], None]  # given the place, stdout and stderr


@dataclass(frozen=True)
class Fault:
    """One entry of the command line: how to make it, its exit code, what stderr must name, what else must hold."""

    number: str
    make: Callable[[Place], list[str]]
    code: int
    says: tuple[str, ...]
    check: Check | None


COMMANDS: list[Fault] = []
LIBRARY: list[tuple[str, Callable[[Place], None]]] = []


def command(number: str, code: int, *says: str, check: Check | None = None) -> Callable[..., Callable[..., list[str]]]:
    """Enter a fault of the command line; the function's folder must not change unless the exit code is 0."""

    def enter(make: Callable[[Place], list[str]]) -> Callable[[Place], list[str]]:
        COMMANDS.append(Fault(number, make, code, says, check))
        return make

    return enter


def library(number: str) -> Callable[..., Callable[..., None]]:
    """Enter a fault of the library."""

    def enter(test: Callable[[Place], None]) -> Callable[[Place], None]:
        LIBRARY.append((number, test))
        return test

    return enter


def numbers(kind: str, *spans: tuple[int, int]) -> list[str]:
    """Return kind + number for each span of numbers, ends included."""
    return [f"{kind}{n}" for first, last in spans for n in range(first, last + 1)]


DEMANDED = [
    *numbers("C", (1, 29), (31, 32), (41, 53), (58, 58), (60, 63)),
    *numbers("I", (1, 12)),
    *numbers("L", (1, 23)),
    *numbers("F", (1, 19)),
]
