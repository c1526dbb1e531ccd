"""Every part names where it comes from, and a report lists the papers of its parts."""

from __future__ import annotations

from pathlib import Path

import vaelab
from vaelab.bibliography import ADAM, ARGUMENTS, BURDA, KINGMA, PARTS, references, short
from vaelab.parts import known, takes
from vaelab.recipes import RECIPES


def test_every_part_that_can_be_chosen_is_in_the_list_and_no_other() -> None:
    for role, papers in PARTS.items():
        assert set(papers) == set(known(role)), role
    taken = {argument.partition("=")[0] for argument in ARGUMENTS}
    parts = [part for role in PARTS for part in known(role).values()]
    assert all(any(takes(part, argument) for part in parts) for argument in taken)


def test_one_paper_has_one_title() -> None:
    """Two entries with the same title are the same text."""
    every = [paper for papers in PARTS.values() for some in papers.values() for paper in some]
    every += [paper for some in ARGUMENTS.values() for paper in some] + [KINGMA, BURDA, ADAM]
    titles: dict[str, set[str]] = {}
    for paper in every:
        titles.setdefault(short(paper), set()).add(paper)
    assert {name for name, some in titles.items() if len(some) > 1} == set()


def test_a_recipe_adds_its_paper_unless_a_part_brings_it() -> None:
    for recipe in RECIPES.values():
        listed = references({role: str(text) for role, text in recipe.parts.items() if role in PARTS}, recipe.paper)
        assert {KINGMA, BURDA, ADAM} <= set(listed)
        assert len(set(listed)) == len(listed)
        assert {short(one) for one in recipe.paper.split("; ")} <= {short(one) for one in listed}


def test_the_report_lists_them(tmp_path: Path) -> None:
    run = vaelab.train("digits", recipe="vamp", latent_dim=2, hidden="8", epochs=1, warmup=1, progress="off")
    page = run.report(tmp_path / "report.html").read_text()
    for paper in ("VAE with a VampPrior", "Ladder Variational Autoencoders", "PixelCNN", "Adam"):
        assert (paper in page) == (paper != "PixelCNN"), paper
