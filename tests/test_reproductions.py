"""Reproductions: curves that are kept and gone on with, exact estimators, pages that say what has been run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from oracles import LinearGaussian, rows
from vaelab.cli import run as command
from vaelab.data import open_source
from vaelab.errors import UsageError
from vaelab.noise import Noise
from vaelab.reproductions import burda, find, kingma_welling, marginal, paper
from vaelab.reproductions.base import chosen
from vaelab.reproductions.carry_out import reproduce
from vaelab.reproductions.marginal import appendix_d, reciprocal
from vaelab.reproductions.unit import FILE, Found, Unit, run
from vaelab.signals import Signals
from vaelab.training import Rows

METHODS = paper.METHODS


def digits(train: int = 300) -> tuple[Rows, Rows]:
    data = open_source("digits", binarize="none")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()
    return Rows(data.take(order[:train])), Rows(data.take(order[1000:1200]))


def curve(**arguments) -> Unit:
    build = paper.as_published(METHODS["aevb"], 2, 16, binary=True)
    return Unit("a", digits, build, rates=(0.01, 0.1), **arguments)


def figures(folder: Path) -> dict:
    known = json.loads((folder / "a" / FILE).read_text())
    return {name: known[name] for name in ("samples", "rate", "looks", "rows")}


def test_a_curve_goes_on_as_if_it_had_not_ended(tmp_path: Path) -> None:
    """To 900 samples and then to 2,400, after a signal in between, or at once: the same last look, to the last bit."""
    with Signals() as signals:
        whole = run(curve(), tmp_path / "whole", 2400, 0, signals)
        first = run(curve(), tmp_path / "parts", 900, 0, signals)
        assert (first.samples, first.looks[-1]["samples"]) == (900, 900)
        signals.asked = 2
        with pytest.raises(KeyboardInterrupt):
            run(curve(), tmp_path / "parts", 2400, 0, signals)
        signals.asked = None
        parts = run(curve(), tmp_path / "parts", 2400, 0, signals)
    assert parts.looks[-1] == whole.looks[-1]
    assert parts.samples == whole.samples == 2400
    assert parts.rate == whole.rate
    assert whole.rows == (300, 200)
    before = (tmp_path / "whole" / "a" / FILE).read_bytes()
    with Signals() as signals:
        again = run(curve(), tmp_path / "whole", 2000, 0, signals)
    assert again.looks == whole.looks, "what has been run is not run again"
    assert (tmp_path / "whole" / "a" / FILE).read_bytes() == before


def test_the_rate_is_the_one_whose_bound_is_best(tmp_path: Path) -> None:
    with Signals() as signals:
        found = run(curve(), tmp_path, 300, 0, signals)
        ends = {}
        for rate in (0.01, 0.1):
            only = Unit("b", digits, curve().build, rates=(rate,))
            ends[rate] = run(only, tmp_path / str(rate), 300, 0, signals).looks[-1]["train"]
    assert found.rate == max(ends, key=ends.__getitem__)
    assert ends[0.01] != ends[0.1]


def test_the_model_is_that_of_the_paper() -> None:
    """Weights of variance 0.01; faces: means in (0, 1), and a variance of its own for each entry."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = paper.model((1, 8, 8), 3, 200, binary=False)
    weights = torch.cat([p.flatten() for p in model.parameters()])
    assert abs(weights.std().item() - 0.1) < 5 * 0.1 / (2 * len(weights)) ** 0.5
    px = model.decode(Noise.seeded(1).normal((5, 3), torch.zeros(1)))
    assert ((px.mean > 0) & (px.mean < 1)).all()
    assert px.batch_shape == (5,)
    assert px.mean.shape == px.variance.shape == (5, 1, 8, 8)
    assert len(px.variance.unique()) > 5
    settings = paper.as_published(METHODS["wake-sleep"], 2, 5, binary=True)(digits()[0])[2]
    assert (settings.optimiser, settings.weight_decay, settings.decay) == ("adagrad", 1 / 300, "none")


def test_the_estimator_of_appendix_d_on_the_linear_model() -> None:
    """From exact draws of p(z | x) 1/p^ is unbiased, within five errors; by chains it comes near, from above."""
    truth = LinearGaussian.random(5, 2, seed=3, s2=0.5)
    x = truth.sample(40, seed=5)
    exact = torch.from_numpy(truth.log_px(x))
    mean, S = truth.posterior(x)
    draws = torch.distributions.MultivariateNormal(torch.from_numpy(mean), torch.from_numpy(S))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first, others = draws.sample((30,)), draws.sample((4000,))
    found = reciprocal(truth.vae(), torch.from_numpy(x), first, others).detach()
    ratio = (exact - found).exp()  # mean of q / p(x, z), times p(x): 1
    error = ratio.std() / len(ratio) ** 0.5
    assert error < 0.01
    assert abs(ratio.mean() - 1) < 5 * error
    chains = appendix_d(truth.vae(), rows(x), seed=2) - exact
    error = chains.std() / len(chains) ** 0.5
    assert error < 0.05
    assert -5 * error < chains.mean() < 0.1


def test_what_lies_between_looks_is_read_off_a_line() -> None:
    found = Found("a", 0, looks=[{"samples": 100, "test": -5.0}, {"samples": 10_000, "test": -1.0}])
    assert found.at("test", 1000) == pytest.approx(-3.0)
    assert found.at("test", 10_000) == -1.0
    assert found.at("test", 99) is None
    assert found.at("train", 1000) is None
    assert found.last("test") == -1.0


def made(name: str, test: float, samples: int = 3_000_000) -> Found:
    return Found(name, 0, samples=samples, looks=[{"samples": s, "test": test} for s in (300_000, samples)])


def test_checks_of_figure_2_can_fail() -> None:
    words = [check.holds for check in kingma_welling.checks({}, 3_000_000)]
    assert words == [None, None, None]
    good = {"mnist-20-aevb": made("", -100.0), "mnist-20-wake-sleep": made("", -104.0),
            "mnist-200-aevb": made("", -102.9), "mnist-20-ours": made("", -99.0, 600_000)}  # fmt: skip
    assert [check.holds for check in kingma_welling.checks(good, 3_000_000)] == [True, True, True]
    bad = {"mnist-20-aevb": made("", -100.0), "mnist-20-wake-sleep": made("", -99.0),
           "mnist-200-aevb": made("", -103.1), "mnist-20-ours": made("", -100.5, 600_000)}  # fmt: skip
    assert [check.holds for check in kingma_welling.checks(bad, 3_000_000)] == [False, False, False]
    longer = {**good, "mnist-20-ours": made("", -99.0, 700_000)}
    assert kingma_welling.checks(longer, 3_000_000)[2].holds is None, "more than a fifth of the samples"
    assert [check.holds for check in kingma_welling.checks(bad, 10_000_000)] == [False, None, None], "not at their ends"


def test_checks_of_the_table_can_fail() -> None:
    def end(value: float) -> Found:
        return Found("", 0, finish={"nll": value})

    names = [burda.named("dynamic", layers, "iwae", k, "ours") for layers in (1, 2) for k in (1, 5)]
    good = dict(zip(names, map(end, (87.5, 86.5, 86.9, 85.5))))
    assert [check.holds for check in burda.checks(good)] == [True, True, True]
    assert [check.holds for check in burda.checks({})] == [None, None, None]
    bad = dict(zip(names, map(end, (89.4, 89.5, 86.9, 89.6))))
    assert [check.holds for check in burda.checks(bad)] == [False, False, False]


def test_the_plans_have_every_panel_and_every_cell() -> None:
    items = find("kingma-welling-2013").plan(1.0)
    assert len({item.unit.name for item in items}) == len(items) == 3 * 9 + 5 + 1
    assert {item.samples for item in items} == {3_000_000, 600_000}
    cells = find("iwae").plan(1.0)
    assert len({item.unit.name for item in cells}) == len(cells) == 40
    assert cells[0].samples == 6_000_000
    assert [item.part for item in chosen(cells, ["table-3-paper"])] == ["table-3-paper"] * 10
    with pytest.raises(UsageError, match="table-1-ours, table-3-ours"):
        chosen(cells, ["table-2"])


@pytest.fixture
def small_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digits in the place of MNIST and the faces; few draws and moves."""
    for name, value in {"DRAWS": 20, "FINAL_ROWS": 5, "MOVES": 3}.items():
        monkeypatch.setattr(marginal, name, value)
    for module, name in ((paper, "mnist"), (paper, "frey_faces")):
        monkeypatch.setattr(module, name, lambda train=200: digits(min(train, 200)))
    binary = Rows(open_source("digits", binarize="stochastic"))
    monkeypatch.setattr(burda, "mnist", lambda kind, train: (binary.first(min(train, 200)), binary.first(100).drawn(0)))


@pytest.mark.parametrize(("name", "curves", "pictures"), [
    ("kingma-welling-2013", 33, ["figure-2.png", "figure-3.png", "figure-4.png", "figure-5.png"]),
    ("iwae", 40, ["passes.png"]),
])  # fmt: skip
def test_a_small_version_runs_and_writes_its_page(
    name: str,
    curves: int,
    pictures: list[str],
    tmp_path: Path,
    small_data,
    capsys: pytest.CaptureFixture[str],
    untouched,
) -> None:
    places = ["-o", str(tmp_path / "pages"), "--work", str(tmp_path / "work"), "--fraction", "0.00002"]
    with untouched():
        code = command(["reproduce", name, *places, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == (0 if document["holds"] else 7)
    assert len(document["curves"]) == curves
    assert all(np.isfinite(v) for c in document["curves"] for look in c["looks"] for v in look.values())
    page = (tmp_path / "pages" / f"{name}.md").read_text()
    assert f"{curves} of {curves} curves" in page
    assert f"`vaelab reproduce {name} --fraction 2e-05`" in page
    assert "not run" not in page.lower().replace("not run yet**", "").replace("is not run", "")
    assert sorted(p.name for p in (tmp_path / "pages" / name).iterdir()) == ["curves.json", *pictures]
    assert all(f"({name}/{picture})" in page for picture in pictures)
    command(["reproduce", name, *places])
    assert (tmp_path / "pages" / f"{name}.md").read_text() == page, "what has been run is not run again"


def test_what_has_not_been_run_is_said(tmp_path: Path, small_data, capsys: pytest.CaptureFixture[str]) -> None:
    places = ["-o", str(tmp_path), "--work", str(tmp_path / "work"), "--fraction", "0.00002"]
    command(["reproduce", "kingma-welling-2013", *places, "--only", "mnist-3-aevb"])
    page = (tmp_path / "kingma-welling-2013.md").read_text()
    assert "1 of 33 curves" in page
    assert "Not run yet: mnist-3-wake-sleep, mnist-3-ours" in page
    assert "not run yet**: figure 2: MNIST, our defaults" in page
    for wrong in (["iwae", "--only", "figure-2"], ["vae"], ["iwae", "--fraction", "0"], ["iwae", "--fraction", "99"],
                  ["iwae", "--full", "--fraction", "1"], ["iwae", "--seed", "-1"]):  # fmt: skip
        assert command(["reproduce", *wrong, "-o", str(tmp_path / "new"), "--work", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()


def test_a_page_grows_from_one_machine_to_the_next(
    tmp_path: Path, small_data, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another work folder: what the record has is not run again, whatever the seed; the page keeps all of it."""

    def go(name: str, work: str, only: str, *more: str) -> str:
        places = ["-o", str(tmp_path), "--work", str(tmp_path / work), "--fraction", "0.00002", "--only", only]
        assert command(["reproduce", name, *places, *more]) in (0, 7)
        return (tmp_path / f"{name}.md").read_text()

    cells = [burda.named("dynamic", 1, "iwae", k, "ours") for k in (1, 5)]
    go("iwae", "here", cells[0])
    first = go("iwae", "here", cells[0], "--seed", "1")
    both = go("iwae", "there", ",".join(cells))
    assert "1 of 40 curves" in first
    assert "2 of 40 curves" in both
    assert [p.name.rpartition("-")[0] for p in (tmp_path / "there" / "iwae").glob("*/")] == [cells[1]]
    row = next(line for line in first.splitlines() if line.startswith("| 1 | 1 | both |"))
    assert ", " in row, "of two seeds"
    assert row in both
    only = "mnist-2-aevb,frey-2-aevb"
    page = go("kingma-welling-2013", "here", only)
    drawn = (tmp_path / "kingma-welling-2013" / "figure-4.png").read_bytes()
    assert go("kingma-welling-2013", "there", only) == page, "nothing run, the pictures of models kept"
    assert (tmp_path / "kingma-welling-2013" / "figure-4.png").read_bytes() == drawn
    record = tmp_path / "iwae" / "curves.json"
    record.write_text(record.read_text()[:100])
    assert command(["reproduce", "iwae", "-o", str(tmp_path), "--work", str(tmp_path / "new")]) == 3
    assert "curves.json: not a record of curves" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_two_at_once_are_refused(tmp_path: Path, small_data) -> None:
    from vaelab.errors import EnvironmentFault
    from vaelab.lock import Lock

    (tmp_path / "iwae").mkdir()
    with Lock(tmp_path / "iwae"), pytest.raises(EnvironmentFault, match="in use"):
        reproduce(find("iwae"), out=tmp_path, work=tmp_path, command="", scale=2e-5)
