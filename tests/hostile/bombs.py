"""Files that ask for more time or memory than their bytes are worth: deep, wide, many, long."""

from __future__ import annotations

from hostile.makers import Case, deep, entry, forge, part, planned

BOMBS: list[Case] = [
    ("deeper", forge(raw=deep(100_000)), "deeper than 32"),
    ("deep header", forge('"a":' + "[" * 100_000 + "]" * 100_000), "deeper than 32"),
    (
        "200,000",
        forge({f"a{i}": entry(shape=[0], offsets=[0, 0]) for i in range(200_000)}),
        "at most 1,048,576",
    ),
    ("many", forge({f"a{i}": entry(shape=[0], offsets=[0, 0]) for i in range(2000)}), "2,000 tensors"),
    (
        "many layers",
        planned(part("parts.Dense", inputs=1, outputs=1, hidden=[1] * 10_000)),
        "far more layers",
    ),
    (
        "million layers",
        planned(part("parts.Dense", inputs=1, outputs=1, hidden=[1] * 300_000)),
        "at most 10,000",
    ),
    ("wide list", planned(part("parts.Kept", thing={"list": [0] * 20_000})), "has length 20,000"),
    ("long text", planned(part("parts.Kept", thing="x" * 20_000)), "has length 20,000"),
]
