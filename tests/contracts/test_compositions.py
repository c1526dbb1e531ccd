"""Parts compose freely: each model trains, is used, saved and read again, or is refused before training, in words."""

from __future__ import annotations

import pytest

from compositions import ARGUMENTS, composition, outcome, with_part
from vaelab.parts import known

SEEDS = range(160)
# parts of other data, or of a model of their own
ELSEWHERE = {
    "prior": ("conditioned",),
    "likelihood": ("columns",),
    "objective": ("semi-supervised",),
}


@pytest.mark.slow
def test_compositions_work_or_are_refused_in_words() -> None:
    tried = [(composition(seed), *outcome(composition(seed))) for seed in SEEDS]
    failed = [f"{made.seed}  {made}: {why}" for made, what, why in tried if what == "failed"]
    assert not failed, "\n".join(failed)
    for made, what, why in tried:
        assert what == "works" or (len(why) > 20 and "\n" not in why), f"{made}: {why!r} does not say why"
    working = [made for made, what, _ in tried if what == "works"]
    assert len(working) > 0.4 * len(tried)


@pytest.mark.parametrize("role", ARGUMENTS)
def test_every_part_works_with_what_it_needs(role: str) -> None:
    for name in set(known(role)) - set(ELSEWHERE.get(role, ())):
        made = with_part(role, name)
        assert outcome(made) == ("works", ""), str(made)
