"""Tables that cannot be read, and tables that can although they look odd."""

from __future__ import annotations

from faults.catalogue import Place, command


@command("C1", 3, "no such file", "sales.csv")
def missing_file(place: Place) -> list[str]:
    return ["train", "sales.csv"]
