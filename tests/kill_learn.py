"""Kill study sessions at random moments and go on: python tests/kill_learn.py --times 100

Each session answers from a pipe and is killed (SIGKILL): a third at a random moment, a third within the writing of a
line, a third between the writing and the word "saved". Every answer that was called saved must be in the history, and
nothing that was not given. One light process forks the sessions.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from vaelab.study import Card, Deck, History, Session, history
from vaelab.study.screen import Lines

DECK = Deck("many", tuple(Card(n, f"question {n}", "answer") for n in range(1, 401)))
ANSWERS = 12  # of a session that nobody kills
KILLS_PER_FILE = 10


class Torn(io.FileIO):
    """A file whose process dies after so many bytes."""

    left = 0

    def write(self, data):
        Torn.left -= len(data)
        if Torn.left < 0:
            super().write(data[: Torn.left])
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(data)


def session(path: Path, way: str, dice: random.Random) -> None:
    """Be the child: answer from stdin, and die in the given way."""
    if way == "torn":
        Torn.left = dice.randrange(1, 90 * ANSWERS)
        history.open = lambda name, mode, **how: (Torn if "a" in mode else io.FileIO)(name, mode.replace("b", ""))
    if way == "synced":
        real, left = os.fsync, [dice.randrange(ANSWERS)]

        def fsync(descriptor):
            real(descriptor)
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        os.fsync = fsync
    Session([DECK], History(path), Lines(), str, new_per_day=10_000).run()


def one(path: Path, way: str, dice: random.Random) -> tuple[list[int], int, bool]:
    """Run a session; return the ratings it was given, how many it called saved, whether it was killed."""
    ratings = [dice.randint(1, 5) for _ in range(ANSWERS)]
    (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
    process = os.fork()
    if not process:
        try:
            os.dup2(their_in, 0)
            os.dup2(their_out, 1)
            for end in (our_in, our_out, their_in, their_out):
                os.close(end)
            session(path, way, dice)
        finally:
            os._exit(0)
    os.close(their_in)
    os.close(their_out)
    with open(our_out, "wb") as out, open(our_in, "rb") as read:
        out.write("".join(f"\n{rating}\n" for rating in ratings).encode())
        out.flush()
        if way == "moment":
            read.read(1)  # it lives
            time.sleep(dice.uniform(0, 0.02))
            os.kill(process, signal.SIGKILL)
        out.close()
        saved = read.read().count(b"saved: ")
    return ratings, saved, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    dice = random.Random(asked.seed)
    kills = answers = torn = lost = 0
    with tempfile.TemporaryDirectory() as place:
        path, before = Path(place) / "0.jsonl", 0
        while kills < asked.times:
            if kills and kills % KILLS_PER_FILE == 0:
                path, before = Path(place) / f"{kills}.jsonl", 0
            ratings, saved, killed = one(path, dice.choice(("moment", "torn", "synced")), dice)
            kept = History(path)
            found = [answer.rating for answer in kept.read()][before:]
            torn += bool(kept.notes)
            if not (saved <= len(found) <= saved + 1 and found == ratings[: len(found)]):
                print(f"{saved} saved of {ratings}, the history has {found}", file=sys.stderr)
                lost += 1
            before, answers, kills = before + len(found), answers + len(found), kills + killed
    print(f"{kills} kills, {answers} answers, {torn} lines cut short: {lost} sessions lost an answer")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
