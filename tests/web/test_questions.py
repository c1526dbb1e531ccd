"""What the explorer says of rows and places is what the run's own verbs say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from served import Served, serving

import vaelab
from vaelab.cli import run as command
from vaelab.data import Dataset
from vaelab.training import Rows
from vaelab.web.explored import Explored
from vaelab.web.questions import EMBEDDED, PICKED, Questions, rate_distortion


def found(served: Served, kind: str, **body: object) -> dict:
    answer = served.client.post(f"/api/{kind}", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["found"]


def test_the_posterior_of_a_row_and_draws_of_it(digits: Served) -> None:
    one = found(digits, "posterior", number=3, again=0)
    codes = digits.run.encode()
    assert one["mean"] == pytest.approx(codes.mean[3].tolist(), abs=1e-6)
    assert one["deviation"] == pytest.approx(codes.deviation[3].tolist(), abs=1e-6)
    draws = torch.tensor([found(digits, "posterior", number=3, again=i)["draws"] for i in range(25)]).flatten(0, 1)
    assert len(draws.unique(dim=0)) == 200, "draw again draws again"
    z = (draws.mean(0) - codes.mean[3]) / codes.deviation[3] * 200**0.5
    assert z.abs().max() < 5
    assert found(digits, "posterior", number=3, again=7) == found(digits, "posterior", number=3, again=7)


def test_places_are_decoded_as_one_by_one(digits: Served) -> None:
    places = [[0.0, 1, 2, 3], [1.0, -1, 0, 0]]
    shown = digits.client.post("/api/places", json={"places": places}).content
    assert shown == b"".join(bytes(digits.explored.decode([z])) for z in places)  # type: ignore[arg-type]


def test_a_grid_lies_as_on_the_map(digits: Served) -> None:
    body = {"corner": [-1.0, 0, 0, 0], "right": [1.0, 0, 0, 0], "up": [0, 0.5, 0, 0], "side": 3}
    shown = digits.client.post("/api/grid", json=body).content
    assert shown[:64] == digits.explored.decode([[-1.0, 1.0, 0, 0]]), "first the corner above"
    assert shown[-64:] == digits.explored.decode([[1.0, 0, 0, 0]]), "last the one below on the right"


def test_nearest_training_rows_by_brute_force(digits: Served) -> None:
    z = [0.3, -0.2, 0.1, 0.5]
    told = found(digits, "nearest", z=z)
    train = digits.run.splits["train"]
    decode = digits.run.decode([z]).flatten() / 16
    far = ((Rows(train).data.flatten(1).double() - decode).square().sum(1)).sqrt()
    best = far.argsort()[:5].tolist()
    assert told["names"] == [str(train.names[i]) for i in best]
    assert told["distances"] == pytest.approx(far[best].tolist(), rel=1e-4)
    assert told["shown"][:64] == [int(v) for v in np.rint(255 * train.x[best[0]].double().numpy().ravel() / 16)]


@pytest.fixture(scope="module")
def gaussian() -> vaelab.Run:
    x = np.random.default_rng(0).normal(size=(300, 3)) * [1, 10, 100]
    x[:, 1] += 20 * x[:, 0]
    import polars as pl

    frame = pl.DataFrame(dict(zip("abc", x.T)))
    return vaelab.train(frame, latent_dim=2, hidden="8", epochs=5, likelihood="gaussian:scale=0.5", progress="off")


def test_the_interval_of_a_gaussian_is_its_own(gaussian: vaelab.Run) -> None:
    low, high = Questions(Explored(gaussian)).interval([0.2, 0.1])
    mean = gaussian.decode([[0.2, 0.1]])[0]
    sigma = 0.5 * gaussian.schema.scale
    # the error of a 5 % quantile of n draws of N(0, 1) is sqrt(0.05 * 0.95 / n) over the density there, 0.103
    error = (0.05 * 0.95 / PICKED) ** 0.5 / 0.103
    for ends, sign in ((low, -1), (high, 1)):
        z = (torch.tensor(ends) - mean) / sigma  # type: ignore[arg-type]
        assert ((z - sign * 1.645).abs() < 5 * error).all()


def test_imputation_is_that_of_the_run(table: Served) -> None:
    told = found(table, "impute", number=5, hidden=[1, 2])
    seen = table.explored.seen
    assert seen is not None
    one = seen.data.take([5])
    hidden = torch.zeros_like(one.x, dtype=torch.bool)
    hidden[:, [1, 2]] = True
    gapped = Dataset(one.x.double().masked_fill(hidden, torch.nan), one.schema)
    truth = table.run.impute(gapped, samples=500, level=0.9)
    assert told["values"] == table.explored.cells(truth.values)[0]
    assert told["low"][1] is None, "words have no interval"
    assert told["low"][2] <= told["values"][2] <= told["high"][2]
    assert told["sure"][1] == pytest.approx(truth.sure[0, 1].item())
    assert told["effective"] == pytest.approx(truth.effective[0].item())
    refused = table.client.post("/api/impute", json={"number": 0, "hidden": [3]})
    assert refused.status_code == 422


def test_t_sne_keeps_neighbours_and_is_made_once(digits: Served) -> None:
    answer = digits.client.post("/api/tsne", json={}, timeout=120)
    at = np.frombuffer(answer.content, "<f4").reshape(-1, 2)
    seen = digits.explored.seen
    assert seen is not None
    assert len(at) == min(EMBEDDED, len(seen.codes))
    far, near = (((v[:, None] - v) ** 2).sum(-1) + 1e9 * np.eye(len(v)) for v in (seen.codes, at))
    ranks = near.argsort(1).argsort(1)[np.arange(len(at)), far.argmin(1)]
    assert np.median(ranks) <= 3, "the nearest code is among the nearest on the map"
    assert digits.client.post("/api/tsne", json={}).content == answer.content


def test_the_history_goes_on_while_a_run_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(["train", "digits", "--out", "r", "--latent-dim", "2", "--hidden", "4", "--epochs", "2", "-q"]) == 0
    run = vaelab.load("r")
    with serving(run) as served:
        told = served.client.get("/api/history").json()
        assert len(told["records"]) == 2
        assert not told["going"]
        with open("r/metrics.jsonl", "a") as file:
            file.write(json.dumps({"epoch": 3, "loss": 1.0, "elbo": -1.0}) + "\n")
        monkeypatch.setattr("vaelab.web.questions.has_checkpoint", lambda folder: True)
        told = served.client.get("/api/history").json()
        assert told["going"]
        assert told["records"][-1]["epoch"] == 3


def test_rate_and_distortion_of_siblings(digits: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    point = rate_distortion(digits.run, "one")
    truth = digits.run.evaluate(samples=50)
    assert point["name"] == "one"
    assert point["rate"] == pytest.approx(truth.kl.value, abs=5 * truth.kl.se)
    assert point["distortion"] == pytest.approx(-truth.reconstruction.value, abs=5 * truth.reconstruction.se)
    model = digits.run.save(tmp_path / "model.safetensors")
    assert command(["explore", str(model), "a.csv", "b.csv", "--no-browser"]) == 2
    assert "one SOURCE" in capsys.readouterr().err
