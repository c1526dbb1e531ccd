"""Faults of the places where results go: what is there already, what cannot be written to."""

from __future__ import annotations

import os
from pathlib import Path

from faults.catalogue import Place, command
from faults.tables import TRAIN, rows


@command("C31", 2, "out.csv exists. Use --force to replace it.")
def output_exists(place: Place) -> list[str]:
    return ["generate", str(place.models.table), "-n", "3", "-o", place.write("out.csv", "mine")]


@command("C31", 2, "run exists. Use --force to replace it")
def run_exists(place: Place) -> list[str]:
    place.write("run/notes.txt", "mine")
    return ["train", place.write("sales.csv", rows(lambda i: i % 7)), *TRAIN]


@command("C32", 5, "nowhere: no such folder. Create it, or choose another place for out.csv.")
def no_output_folder(place: Place) -> list[str]:
    return ["encode", str(place.models.table), "-o", "nowhere/out.csv"]


def closed(place: Place) -> str:
    """Return a folder in which nobody, or only root, can make a file."""
    if os.geteuid() == 0:
        return "/proc"
    (place.folder / "closed").mkdir(mode=0o500)
    return "closed"


@command("C32", 5, "cannot be written to")
def closed_output_folder(place: Place) -> list[str]:
    return ["encode", str(place.models.table), "-o", str(Path(closed(place)) / "out.csv")]


@command("C32", 5, "cannot be written to")
def closed_run_folder(place: Place) -> list[str]:
    out = Path(closed(place)) / "run"
    return ["train", place.write("sales.csv", rows(lambda i: i % 7)), "--epochs", "100000", "--out", str(out)]
