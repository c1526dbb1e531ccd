"""Every card of the deck: its claims hold, its control does not; the figures are numbers, the picture is one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from vaelab.cli import run
from vaelab.errors import UsageError
from vaelab.evaluation import Estimate
from vaelab.experiments import EXPERIMENTS, Claim, Experiment, Result, find
from vaelab.experiments.base import plain

CARDS = sorted(EXPERIMENTS)


def looks_right(result: Result) -> None:
    document = json.loads(json.dumps(result.json("a.png"), allow_nan=False))
    assert document["card"] == result.experiment.card
    assert document["claims"], "an experiment without claims"
    assert all(claim["figures"] for claim in document["claims"])
    assert any(claim["holds"] is not None for claim in document["claims"])
    with Image.open(io.BytesIO(result.picture())) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) >= 300


@pytest.mark.parametrize("card", CARDS)
def test_the_claims_of_a_card_hold(card: int, untouched) -> None:
    with untouched():
        result = EXPERIMENTS[card].run(seed=0)
    wrong = [claim for claim in result.claims if claim.holds is False]
    assert not wrong, wrong
    looks_right(result)


@pytest.mark.parametrize("card", CARDS)
def test_the_control_of_a_card_does_not_hold(card: int) -> None:
    result = EXPERIMENTS[card].run(seed=0, control=True)
    assert not result.holds, f"{EXPERIMENTS[card].control}: {result.claims}"
    looks_right(result)


def test_equal_seeds_give_equal_figures() -> None:
    a, b = (EXPERIMENTS[19].run(seed=3) for _ in range(2))
    assert [c.json() for c in a.claims] == [c.json() for c in b.claims]
    assert a.picture() == b.picture()
    assert EXPERIMENTS[19].run(seed=4).claims[0].json() != a.claims[0].json()


def test_the_command_says_what_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["experiment", "19", "-o", str(tmp_path / "a")]) == 0
    said = capsys.readouterr()
    assert said.out.count("holds: ") == 4
    assert "±" in said.out
    assert "does not hold" not in said.out
    assert (tmp_path / "a" / "card-19-seed-0.png").read_bytes()[1:4] == b"PNG"
    assert run(["experiment", "19", "--control", "--seed", "2", "-o", str(tmp_path), "--json"]) == 7
    document = json.loads(capsys.readouterr().out)
    assert document["holds"] is False
    assert document["control"] == EXPERIMENTS[19].control
    assert document["picture"] == str(tmp_path / "card-19-seed-2-control.png")
    assert Path(document["picture"]).is_file()


def test_all_of_them_are_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(trial) -> None:
        trial.claim("the seed is even", trial.seed % 2 == 0, seed=trial.seed)
        trial.show("a figure", value=Estimate(1.0, 0.5), rest=torch.ones(2))
        trial.draw(lambda figure: None)

    for card in CARDS:
        monkeypatch.setitem(EXPERIMENTS, card, Experiment(card, "A question?", "", "", measure))
    assert run(["experiment", "--all", "-o", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CARDS)
    assert all("holds" in line and "1 of 1 claims" in line and "A question?" in line for line in lines)
    assert run(["experiment", "--all", "--seed", "1", "--json", "-o", str(tmp_path)]) == 7
    documents = json.loads(capsys.readouterr().out)
    assert [document["card"] for document in documents] == CARDS
    assert documents[0]["claims"][1] == {
        "text": "a figure", "holds": None, "figures": {"value": {"value": 1.0, "se": 0.5}, "rest": [1.0, 1.0]},
    }  # fmt: skip


@pytest.mark.parametrize("arguments", [["20"], ["0"], [], ["3", "--all"], ["19", "--seed", "-1"]])
def test_what_makes_no_sense_is_refused(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["experiment", *arguments, "-o", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "new").exists()


def test_figures_are_json() -> None:
    assert plain(Estimate(1.0, float("nan"))) == {"value": 1.0, "se": None}
    assert plain([float("inf"), 1, "a"]) == [None, 1, "a"]
    assert Claim("a", None, {"b": 2}).json() == {"text": "a", "holds": None, "figures": {"b": 2}}
    with pytest.raises(UsageError, match="no card 99"):
        find(99)
