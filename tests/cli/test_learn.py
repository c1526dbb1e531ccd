"""`vaelab learn` as a user meets it: a pipe, a terminal, exit codes, files."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from vaelab.cli import learn as command
from vaelab.cli import run
from vaelab.study import bundled
from vaelab.study.anki import guid

ESCAPE = "\x1b"
OWN = "number,question,answer\n1,Why?,\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VAELAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def typed(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{key.strip()}\n" for key in keys)))


def ratings(path: Path) -> list[int]:
    return [json.loads(line)["rating"] for line in path.read_text().splitlines()]


def test_a_session_in_a_pipe(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    typed("  5 3q", monkeypatch)
    assert run(["learn"]) == 0
    said = capsys.readouterr()
    card = bundled().cards[0]
    assert said.out.index(card.question) < said.out.index(card.answer) < said.out.index(card.full.splitlines()[2])
    assert "How well did you know this?  1 not at all  2  3  4  5 perfectly" in said.out
    assert "saved: 5, again in 8 days" in said.out
    assert ESCAPE not in said.out
    path = home / "study" / "history.jsonl"
    assert said.err == f"2 answers saved in {path}\n"
    assert ratings(path) == [5, 3]
    # the same day, with no new card left: the one in learning is not asked twice running
    typed(" 4 4 4", monkeypatch)
    assert run(["learn", "--new", "2"]) == 0
    said = capsys.readouterr()  # 5.5 minutes after the answer, less what it took
    assert re.search(r"nothing is due; the next card in [56] min; 17 new for other days \(--new N for more", said.out)


def test_x_runs_the_experiment_in_place(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "holds" in command.experiment_here(19)
    assert (home / "study" / "pictures" / "card-19-seed-0.png").exists()
    ran = []
    monkeypatch.setattr(command, "experiment_here", lambda number: ran.append(number) or "all holds")
    typed("x 2q", monkeypatch)
    assert run(["learn"]) == 0
    assert "all holds" in capsys.readouterr().out
    assert ran == [1]


def test_due_and_statistics(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text('{"v": 1, "at": "2026-01-01T12:00:00+00:00", "deck": "vae", "card": 7, "rating": 5}\n{"v": 1, "at')
    options = ["--history", str(path), "--json"]
    assert run(["learn", "--due", *options]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert "cut short" in said.err
    assert [one["card"] for one in found["due"]] == [7]
    assert found["due"][0]["due"] == "2026-01-09T12:00:00+00:00"
    assert found["new"] == 5
    assert run(["learn", "--stats", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["answers"], found["ratings"]["5"], found["decks"][0]["new"]) == (1, 1, 18)
    assert run(["learn", "--due", "--history", str(path)]) == 0
    assert "1 due, 5 new today" in capsys.readouterr().out
    assert run(["learn", "--stats", "--history", str(path)]) == 0
    assert "answers    1, today 0; on 1 days, 0 running" in capsys.readouterr().out


def test_own_decks_beside_the_bundled_one(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deck = tmp_path / "mine.txt"
    deck.write_text("1\nQ\nWhy \x1b[31m?\nA\nBecause.\nHow well did you know this?\n1\n2\n3\n4\n5\n")
    assert run(["learn", "--import", str(deck)]) == 0
    assert "deck mine: 1 cards" in capsys.readouterr().err
    assert run(["learn", "--import", str(deck)]) == 2
    assert "Use --force to replace it" in capsys.readouterr().err
    assert run(["learn", "--import", str(deck), "--force"]) == 0
    typed(" 4", monkeypatch)
    assert run(["learn", "mine"]) == 0
    said = capsys.readouterr().out
    assert "Why ?[31m?" in said, "a deck steers the terminal"
    assert "Because." in said
    assert run(["learn", "--stats", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["decks"]] == ["vae", "mine"]
    assert run(["learn", "mine", "--export", str(tmp_path / "back.csv")]) == 0
    assert "1,Why \x1b[31m?,Because.," in (tmp_path / "back.csv").read_text()


def test_export_to_anki_has_every_card_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deck.apkg"
    assert run(["learn", "--export", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    with zipfile.ZipFile(out) as package:
        package.extract("collection.anki2", tmp_path)
    base = sqlite3.connect(tmp_path / "collection.anki2")
    rows = base.execute("select guid, flds from notes order by id").fetchall()
    base.close()
    assert [row[0] for row in rows] == [guid(bundled(), card) for card in bundled().cards]
    assert [row[1].split("\x1f")[0] for row in rows] == [str(n) for n in range(1, 20)]
    assert run(["learn", "--export", str(out)]) == 2


def test_without_the_extra_a_word_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "genanki", None)
    assert run(["learn", "--export", str(tmp_path / "a.apkg")]) == 5
    assert "pip install 'vaelab[anki]'" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.apkg"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--json"], 2, "--json goes with"),
        (["--due", "--stats"], 2, "one at a time"),
        (["--name", "x"], 2, "--name goes with --import"),
        (["--new", "-1"], 2, "--new must be at least 0, got -1"),
        (["nothing"], 2, "no deck 'nothing'"),
        (["--import", "missing.csv"], 3, "no such file: missing.csv"),
        (["--import", "bad.csv"], 3, "bad.csv, line 2: card 1 has no answer"),
        (["--export", "a.docx"], 2, "expected a name that ends in .apkg"),
        (["--history", "."], 5, "cannot be read"),
    ],
)
def test_faults(
    arguments: list[str], code: int, words: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text(OWN)
    assert run(["learn", *arguments]) == code
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1
    assert not home.exists()


def on_a_terminal(keys: bytes, *, interrupt: bool = False, **environment: str) -> tuple[str, int]:
    """Give keys, each at a prompt; then Ctrl-C at the next one if asked. Return what was seen, and the exit code."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vaelab", "learn"], stdin=other, stdout=other, stderr=other,
        env={**os.environ, "TERM": "xterm", **environment}, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )  # fmt: skip
    os.close(other)
    seen, given, end = b"", 0, time.monotonic() + 120
    while True:
        if not select.select([main], [], [], 5)[0]:
            if time.monotonic() > end:  # say so, and do not wait for ever
                process.kill()
                raise AssertionError(f"no more after {seen.decode()!r}")
            continue
        try:
            more = os.read(main, 4096)
        except OSError:
            break
        seen += more
        if seen.count(b"[q] quit") > given:
            if given < len(keys):
                os.write(main, keys[given : given + 1])
            elif interrupt and given == len(keys):
                os.kill(process.pid, signal.SIGINT)
            given += 1
    code = process.wait(60)
    os.close(main)
    return seen.decode(), code


def test_a_terminal_takes_keys_and_ctrl_c_keeps_what_was_answered(home: Path) -> None:
    seen, code = on_a_terminal(b"\r4\r", interrupt=True)
    assert code == 130, seen
    assert ESCAPE in seen
    assert "1 answer saved" in seen
    assert ratings(home / "study" / "history.jsonl") == [4]


def test_a_dumb_terminal_gets_no_escapes(home: Path) -> None:
    seen, code = on_a_terminal(b"\n\n", interrupt=True, TERM="dumb")
    assert code == 130, seen
    assert ESCAPE not in seen
    assert bundled().cards[0].answer in seen


def test_letters_that_a_terminal_lacks_are_written_out(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vaelab", "learn"], input=b"\n\n3\n", capture_output=True, timeout=120, check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"log p(x) = ELBO(x) + KL(q(z | x) || p(z | x))" in done.stdout
