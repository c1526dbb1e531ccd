"""Plant historical VAE errors one by one into a copy of the source; the exact checks must catch each.

`python tests/planted.py [WORD]` prints a table: the first check that catches each error. With WORD: of the
errors whose name holds it, every check that catches them, and its message. Exit 1 if one is not caught or no
longer fits the source. Caught is by an assertion, or an exception of the mathematics; an error that does not
parse, or names something unknown, counts as broken, not as caught.

`by` of an error names the check that is to catch it, and is tried first; `python tests/planted.py --name-checks` writes
the first that does into the files of the errors that have none.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
SOURCE = TESTS.parent / "src" / "vaelab"
JOBS, LIMIT = 2, 60.0  # children at a time, seconds for each
OURS = ("vaelab", "exact", "hostile", "small_parts", "checks")  # and all that begins with checks_
BROKEN = (SyntaxError, NameError, ImportError, AttributeError)


def errors() -> list[dict[str, str]]:
    """Return the planted errors: name, file, old, new."""
    listed = [
        error
        for path in sorted((TESTS / "planted_errors").glob("*.toml"))
        for error in tomllib.loads(path.read_text()).get("error", [])
    ]
    names = [error["name"] for error in listed]
    assert len(set(names)) == len(names), "two planted errors have the same name"
    return listed


def plant(error: dict[str, str], package: Path) -> None:
    """Write the error into a copy of the package. Raises ValueError if the source has moved on."""
    path = package / error["file"]
    text = path.read_text() if path.exists() else ""
    if text.count(error["old"]) != 1:
        times = f"its text stands there {text.count(error['old'])} times, not once"
        raise ValueError(f"planted error {error['name']!r} no longer fits {error['file']}: {times}")
    path.write_text(text.replace(error["old"], error["new"]))
    for stale in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        stale.unlink()


def preload() -> None:
    """Import what every child needs, and nothing of this project: a fork then starts in no time.

    No gradient is computed here: torch's backward pass does not survive a fork.
    """
    import torch

    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports what optimisers need
    for name in (
        "numpy",
        "polars",
        "narwhals",
        "PIL.Image",
        "sklearn.datasets",
        "sklearn.ensemble",
        "sklearn.feature_selection",
        "safetensors.torch",
    ):
        with contextlib.suppress(ImportError):
            __import__(name)


def run_checks(package: Path, every: bool, by: str = "") -> dict[str, Any]:
    """Run the checks on this copy, `by` first, up to the first that fails, or `every` one.

    Returns {"failed": {check: message}, "broken": message or None}.
    """
    import warnings

    warnings.simplefilter("ignore")
    for name in [n for n in sys.modules if n.partition(".")[0] in OURS or n.startswith("checks_")]:
        del sys.modules[name]
    sys.path[:0] = [str(package.parent), str(TESTS)]
    failed: dict[str, str] = {}
    try:
        import vaelab

        assert Path(next(iter(vaelab.__path__))) == package, "the copy is not what was imported"
        from checks import CHECKS
    except Exception:
        return {"failed": failed, "broken": traceback.format_exc(limit=-1)}
    for name in sorted(CHECKS, key=lambda name: name != by):
        try:
            CHECKS[name]()
        except BROKEN:
            return {"failed": failed, "broken": f"{name}: {traceback.format_exc(limit=-1)}"}
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            if not every:
                break
    return {"failed": failed, "broken": None}


def start(package: Path, result: Path, every: bool, by: str) -> int:
    """Fork a child that runs the checks and writes what it found; return its process id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    try:
        result.write_text(json.dumps(run_checks(package, every, by)))
    finally:
        os._exit(0)


def run_all(todo: list[tuple[dict[str, str], Path]], folder: Path, every: bool) -> dict[str, dict[str, Any]]:
    """Run the checks on the copy of each error, a few at a time; return what was found by name."""
    found: dict[str, dict[str, Any]] = {}
    running: dict[int, tuple[str, Path, float]] = {}
    waiting = list(enumerate(todo))
    while waiting or running:
        while waiting and len(running) < JOBS:
            number, (error, package) = waiting.pop(0)
            result = folder / f"{number}.json"
            running[start(package, result, every, error.get("by", ""))] = (error["name"], result, time.monotonic())
        for child, (name, result, began) in list(running.items()):
            late = time.monotonic() - began > LIMIT
            if late:
                os.kill(child, signal.SIGKILL)
            if os.waitpid(child, 0 if late else os.WNOHANG)[0]:
                del running[child]
                lost = {"failed": {}, "broken": "ran out of time" if late else "the child died"}
                found[name] = json.loads(result.read_text()) if result.exists() else lost
        time.sleep(0.005)
    return found


def copy(folder: Path, name: str, source: Path) -> Path:
    """Return a copy of the package: of the source as it stands, or of a copy that is compiled by now."""
    package = folder / name / "vaelab"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__") if source == SOURCE else None)
    return package


def name_checks(found: dict[str, dict[str, Any]]) -> None:
    """Write the first check that caught an error beside its name, where none is named."""
    named = {error["name"] for error in errors() if "by" in error}
    for path in (TESTS / "planted_errors").glob("*.toml"):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            name = tomllib.loads(line)["name"] if line.startswith("name = ") else None
            if name in found and name not in named and found[name]["failed"]:
                lines[number] += f"\nby = {json.dumps(next(iter(found[name]['failed'])))}"
        path.write_text("\n".join(lines) + "\n")


def main(word: str = "") -> int:
    """Print the table; return the exit status."""
    began = time.monotonic()
    naming = word == "--name-checks"
    listed = [error for error in errors() if naming or word in error["name"]]
    word = "" if naming else word
    preload()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        unchanged = copy(folder, "unchanged", SOURCE)
        sound = run_all([({"name": "unchanged"}, unchanged)], folder, True)["unchanged"]
        if sound["failed"] or sound["broken"]:
            print("The checks fail on the unchanged source:")
            print(
                *[f"  {name}: {why}" for name, why in sound["failed"].items()],
                sound["broken"] or "",
                sep="\n",
            )
            return 1
        todo, misfits = [], []
        for number, error in enumerate(listed):
            package = copy(folder, f"error{number}", unchanged)
            try:
                plant(error, package)
            except ValueError as why:
                misfits.append(str(why))
            else:
                todo.append((error, package))
        found = run_all(todo, folder, bool(word))
    if naming:
        name_checks(found)
    return table([error["name"] for error, _ in todo], found, misfits, time.monotonic() - began, messages=bool(word))


def table(
    names: list[str], found: dict[str, dict[str, Any]], misfits: list[str], seconds: float, *, messages: bool
) -> int:
    """Print what became of each planted error; return 1 if one is not caught or cannot be planted."""
    bad = []
    print(f"{'planted error':<60} {'verdict':<11} by")
    for name in names:
        failed, broken = found[name]["failed"], found[name]["broken"]
        verdict = "BROKEN" if broken else "caught" if failed else "NOT caught"
        by = broken.strip().splitlines()[-1] if broken else next(iter(failed), "")
        print(f"{name:<60} {verdict:<11} {by}")
        if messages:
            print(*[f"    {check}: {why}" for check, why in failed.items()], sep="\n")
        if verdict != "caught":
            bad.append(f"{verdict}: {name}")
    excluded = tomllib.loads((TESTS / "planted_errors" / "excluded.toml").read_text())["excluded"]
    for name, why in excluded.items():
        print(f"{name:<60} {'-':<11} excluded by design: {why}")
    print(f"\n{len(names)} errors planted, {len(names) - len(bad)} caught, in {seconds:.0f} s.")
    print(*bad, *misfits, sep="\n")
    return 1 if bad or misfits else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
