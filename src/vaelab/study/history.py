"""The history of answers: a file of JSON lines to which lines are added and nothing else is ever done.

An answer counts when its line is on the disk: `add` returns after that, so a kill at any moment loses no answer that
was acknowledged. A last line that was cut short was never acknowledged: it is taken off before the next one is written.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ..durable import sync_folder
from ..errors import DataError, EnvironmentFault
from ..lock import held
from .schedule import Answer

VERSION = 1


class History:
    """The answers in a file, those of other processes included: `read` before asking, `add` to write one.

    `notes` says in words what was found and mended. Raises DataError, with the line, for a whole line that is no
    answer; EnvironmentFault where the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self.offset = self.lines = 0  # of what was read
        self.begin = 0  # of the last line that was read

    def read(self) -> list[Answer]:
        """Return the answers that were added since the last call, by anybody, in the order of the file."""
        try:
            with open(self.path, "rb") as file:
                return self._read(file)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise EnvironmentFault(f"{self.path} cannot be read: {error.strerror or error}.") from error

    def add(self, answer: Answer) -> list[Answer]:
        """Write an answer to the disk; return it after those that others added since the last `read`."""
        try:
            fresh = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b", buffering=0) as file, held(file):
                self._mend(file)
                size = os.fstat(file.fileno()).st_size
                try:
                    whole = file.write(data := written(answer)) == len(data)
                    if not whole:
                        raise OSError(28, "no space left for a line")
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(size)  # all of it or nothing
                    raise
                if fresh:
                    sync_folder(self.path.parent)
                return self._read(file)
        except OSError as error:
            raise EnvironmentFault(
                f"{self.path} cannot be written: {error.strerror or error}. The last answer is not saved."
            ) from error

    def _mend(self, file: BinaryIO) -> None:
        """See to it that the file ends with a line's end: under the lock nobody is still writing one."""
        file.seek(self.begin)  # a line that was read may still lack its end, if somebody edited the file
        rest = file.read()
        tail = rest[rest.rfind(b"\n") + 1 :]
        if is_answer(tail):
            file.write(b"\n")
        elif tail:
            file.truncate(file.tell() - len(tail))
            self._say(f"the last line of {self.path} was cut short: taken off. No other answer is touched.")

    def _read(self, file: BinaryIO) -> list[Answer]:
        file.seek(self.offset)
        answers = []
        for line in file.read().split(b"\n"):
            ended = file.tell() > self.offset + len(line)  # all but the last piece have a line's end
            if not ended and line and not is_answer(line):
                self._say(f"the last line of {self.path} was cut short: left out. No other answer is touched.")
                break
            if line.strip():
                answers.append(parse(line, f"{self.path}, line {self.lines + 1}"))
            self.begin = self.offset
            self.offset += len(line) + ended
            self.lines += ended
        return answers

    def _say(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def written(answer: Answer) -> bytes:
    """Return an answer as a line of the history."""
    record = {"v": VERSION, "at": answer.at.isoformat(), "deck": answer.deck, "card": answer.card}
    return json.dumps(record | {"rating": answer.rating}).encode() + b"\n"


def parse(line: bytes, where: str) -> Answer:
    """Read a line of the history; DataError says what is wrong with it."""
    try:
        record = json.loads(line)
        if record["v"] > VERSION:
            raise DataError(f"{where}: written by a newer version (format {record['v']}). Update vaelab.")
        at = datetime.fromisoformat(record["at"]).astimezone(UTC)
        answer = Answer(at, record["deck"], record["card"], record["rating"])
        right = isinstance(answer.deck, str) and type(answer.card) is int and answer.rating in (1, 2, 3, 4, 5)
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, OverflowError):
        right = False
    if not right:
        raise DataError(f"{where}: no answer to a card. Mend or remove this line; the others are whole.")
    return answer


def is_answer(line: bytes) -> bool:
    """Whether a line is whole: one that was cut short lacks its last brace, so it is none."""
    try:
        parse(line, "")
    except DataError:
        return False
    return True
