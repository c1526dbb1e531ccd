"""What the explorer says of a run is what the run says: codes, decodes, rows, orders, the prior."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from served import Served

import vaelab
from vaelab.errors import UsageError
from vaelab.evaluation import evidence_rows
from vaelab.pictures import inputs_as_seen
from vaelab.training import Rows
from vaelab.use import path_through
from vaelab.web import explored
from vaelab.web.explored import Explored


def greys(served: Served, x: torch.Tensor) -> np.ndarray:
    """Return what a picture of x must hold: digits are 0 to 16."""
    return np.rint(255 * (x / 16).clamp(0, 1).numpy()).astype(int).ravel()


def greys_of(run: vaelab.Run, given: str) -> np.ndarray:
    return np.rint(255 * (run.decode([[0.0, 0.0]], given=given) / 16).clamp(0, 1).numpy()).astype(int).ravel()


def shown(content: object) -> np.ndarray:
    assert isinstance(content, bytes)
    return np.frombuffer(content, np.uint8).astype(int)


def test_points_are_the_codes_with_errors_and_labels(digits: Served) -> None:
    seen, facts = digits.explored.seen, digits.explored.facts()
    assert seen is not None
    numbers = np.frombuffer(digits.client.get("/api/points").content, "<f4")
    n, d = facts["rows"], facts["latent_dim"]
    assert len(numbers) == n * (d + 2)
    assert np.allclose(numbers[: n * d].reshape(n, d), digits.run.encode().mean, atol=1e-6)
    data = digits.run.data()[0]
    assert [facts["labels"][int(v)] for v in numbers[n * (d + 1) :]] == [str(v) for v in data.labels]  # type: ignore[union-attr]
    # 8 draws, the same for every row: the standard error of their mean is that of one draw over sqrt(8)
    rows = Rows(data)
    one = [
        evidence_rows(digits.run.model, rows, samples=1, seed=s, shared=True).reconstruction.mean() for s in range(40)
    ]
    standard_error = torch.stack(one).std().item() / 8**0.5
    judged = digits.run.evaluate(samples=200)
    assert abs(seen.error.mean() + judged.reconstruction.value) < 5 * standard_error
    assert standard_error < 1
    assert facts["order"] == list(np.argsort(-np.array(facts["kl"]), kind="stable"))
    assert facts["names"] == [str(v) for v in data.names]


def test_decodes_paths_and_rows_are_the_run_s(digits: Served) -> None:
    places = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    a, b = places.tolist()
    one = digits.client.post("/api/decode", json={"z": a})
    assert np.abs(shown(one.content) - greys(digits, digits.run.decode([a]))).max() <= 1
    for way in ("straight", "spherical"):
        got = digits.client.post("/api/path", json={"start": a, "end": b, "steps": 6, "way": way})
        truth = digits.run.decode(path_through(places, 6, way))
        assert np.abs(shown(got.content) - greys(digits, truth)).max() <= 1
    data = digits.run.data()[0].take([5])
    both = torch.cat([inputs_as_seen(data), digits.run.reconstruct(data)])
    got = digits.client.post("/api/row", json={"number": 5})
    assert np.abs(shown(got.content) - greys(digits, both)).max() <= 1


def test_principal_directions_carry_the_variance(digits: Served) -> None:
    seen, found = digits.explored.seen, digits.explored.principal()
    assert seen is not None
    assert found is not None
    codes, both = seen.codes.astype(float), np.array(found)
    assert np.allclose(both @ both.T, np.eye(2), atol=1e-9)
    largest = np.linalg.eigvalsh(np.cov(codes, rowvar=False))[::-1][:2]
    assert np.allclose((codes @ both.T).var(0, ddof=1), largest, rtol=1e-6)


def test_the_prior_is_told_in_closed_form_or_by_draws(digits: Served, table: Served) -> None:
    gaussian, draws = digits.explored.prior()
    assert gaussian == {"mean": [0.0] * 4, "deviation": [1.0] * 4}
    assert len(draws) == 0
    gaussian, draws = table.explored.prior()
    assert gaussian is None
    p = table.run.model.prior_at()  # type: ignore[operator]
    error = p.variance.sqrt().detach().numpy() / len(draws) ** 0.5
    assert (np.abs(draws.mean(0) - p.mean.detach().numpy()) < 5 * error).all()


def test_a_table_s_cells_are_words_and_numbers(table: Served) -> None:
    rows = table.client.post("/api/row", json={"number": 3}).json()["found"]
    frame = table.run.frame(table.run.data()[0].take([3]).x)
    columns = table.explored.facts()["columns"]
    assert rows[0] == list(frame.select(columns).row(0))
    assert rows[1][columns.index("word")] in ("<b>0</b>", "<b>1</b>", "<b>2</b>")


def test_more_rows_than_a_map_holds_are_drawn_at_random(digits: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explored, "POINTS", 40)
    few = Explored(digits.run)
    assert few.seen is not None
    facts = few.facts()
    assert (facts["rows"], facts["total"]) == (40, 180)
    names = [str(v) for v in digits.run.data()[0].names]
    at = [names.index(name) for name in facts["names"]]
    assert at == sorted(set(at))
    assert at[-1] > 45
    assert np.allclose(few.seen.codes, digits.run.encode().mean[at], atol=1e-6)


def test_what_has_no_finite_decode_is_said(digits: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits.explored, "decoded", lambda places: torch.full((1, 8, 8), torch.nan))
    answer = digits.client.post("/api/decode", json={"z": [0, 0, 0, 0]})
    assert answer.status_code == 422
    assert answer.json() == {"error": "the decoder gives no finite numbers here"}


def test_models_of_other_kinds(tmp_path: Path) -> None:
    quick = {"hidden": "8", "epochs": 1, "progress": "off"}
    plain = Explored(vaelab.train("digits", recipe="autoencoder", latent_dim=2, **quick))
    assert plain.facts()["kl"] is None
    layered = Explored(vaelab.train("digits", recipe="hierarchical", latent_dim="3,2", **quick))
    assert layered.facts()["latent_dim"] == 5
    assert layered.facts()["prior"] is None
    conditional = vaelab.train("digits", recipe="cvae", condition="label", latent_dim=2, **quick)
    with pytest.raises(UsageError, match="--given"):
        Explored(conditional)
    three, eight = (Explored(conditional, given=f"label={k}").decode([[0.0, 0.0]]) for k in (3, 8))
    assert np.abs(shown(three) - greys_of(conditional, "label=3")).max() <= 1
    assert three != eight
