"""Run the console blocks of a page and compare what they print: python tests/transcript.py docs/first-hour.md --write

In a block, a line that begins with "$ " is a command, what follows is what it prints (stderr after stdout). Words must
be the same; numbers may differ by 5 % or 0.5, whichever is more; "..." stands for anything.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from vaelab.cli import run

SHARE, AMOUNT = 0.05, 0.5
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?")
BLOCK = re.compile(r"```(python|console)\n(.*?)```", re.DOTALL)


def printed(line: str) -> str:
    """Run one command line in this process and return what it prints."""
    words = shlex.split(line)
    if words[0] == "head":
        with open(words[-1]) as file:
            return "".join(islice(file, int(words[2])))
    assert words[0] == "vaelab", line
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        run(words[1:])
    for stream in (out, err):
        stream.flush()
    return (out.buffer.getvalue() + err.buffer.getvalue()).decode()  # type: ignore[attr-defined]


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a block with what it should print."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected


def differs(expected: str, got: str) -> str | None:
    """Say how two outputs differ, or return None."""
    skeleton = r"[\s\S]*?".join(
        f"({NUMBER.pattern})".join(re.escape(words) for words in NUMBER.split(part))
        for part in expected.rstrip("\n").split("...")
    )
    found = re.fullmatch(skeleton, got.rstrip("\n"))
    if found is None:
        return "the words differ"
    for want, have in zip(NUMBER.findall(expected.replace("...", " ")), found.groups()):
        a, b = (float(number.replace(",", "")) for number in (want, have))
        if abs(a - b) > max(AMOUNT, SHARE * abs(a)):
            return f"{have} is too far from {want}"
    return None


def follow(page: Path, *, write: bool = False) -> list[str]:
    """Run a page in an empty folder; return what differs. With `write`, put what was printed into the page."""
    text, wrong = page.read_text(encoding="utf-8"), []
    names: dict[str, object] = {"__name__": "page"}
    new = text
    with TemporaryDirectory() as folder, chdir(folder), torch.random.fork_rng(devices=[]):
        for kind, block in BLOCK.findall(text):
            if kind == "python":
                exec(compile(block, page.name, "exec"), names)
                continue
            lines = []
            for command, expected in commands(block):
                got = printed(command)
                assert folder not in got, f"{command} prints a path of this machine"
                lines.append(f"$ {command}\n{got}")
                if not write and (reason := differs(expected, got)):
                    wrong.append(f"$ {command}\n{reason}\n--- expected\n{expected}--- got\n{got}")
            new = new.replace(block, "".join(lines))
    if write:
        page.write_text(new, encoding="utf-8")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    os.environ["NO_COLOR"] = "1"
    problems = follow(asked.page.absolute(), write=asked.write)
    print("\n".join(problems), file=sys.stderr)
    sys.exit(bool(problems))
