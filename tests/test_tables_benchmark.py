"""The benchmark of tables: who is fitted and judged on what, and a small run of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import IsolationForest

FOLDER = Path(__file__).parents[1] / "benchmarks"


def opened(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    return opened("tables")


@pytest.fixture(scope="module")
def imputation(tables: ModuleType) -> ModuleType:
    return opened("imputation")


@pytest.fixture(scope="module")
def synthetic(tables: ModuleType) -> ModuleType:
    return opened("synthetic")


def test_no_judged_row_of_novelty_was_fitted(tables: ModuleType) -> None:
    normal, outliers = np.arange(50.0)[:, None], np.arange(100.0, 120.0)[:, None]
    fitted, judged, outlier = tables.novelty(normal, outliers, np.random.default_rng(0))
    assert len(fitted) == 35
    assert not set(fitted[:, 0]) & set(judged[:, 0])
    assert (judged[outlier] >= 100).all()
    assert (judged[~outlier] < 100).all()
    assert len(judged) == 15 + 20
    fitted, judged, outlier = tables.contaminated(normal, outliers, np.random.default_rng(0))
    np.testing.assert_array_equal(fitted, judged)
    assert outlier.sum() == 5
    assert ((judged[:, 0] >= 100) == outlier).all()


def test_a_small_run_prints_a_row_for_each_way(tables: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(
        tables, "METHODS", {"forest": lambda seed, shared: IsolationForest(n_estimators=10, random_state=seed)}
    )
    tables.anomalies(2, "two cultivars", tables.Results())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| data | rows | forest |"
    assert [line.split(" | ")[1] for line in lines[2:4]] == ["novelty", "contaminated"]
    area = float(lines[2].split(" | ")[2].split(" ± ")[0])
    assert 0.8 < area <= 1, "the areas are turned round"


def people() -> pl.DataFrame:
    ages = [20.0, 30.0, 40.0, 50.0, 60.0, None]
    return pl.DataFrame({"age": ages, "size": [1.0, 2.0, 3.0, 4.0, 5.0, 9.0], "town": ["a", "a", "b", "a", None, "c"]})


def test_cells_are_taken_as_it_is_said(imputation: ModuleType) -> None:
    frame = people()
    hidden = imputation.self_masked(frame, 0)
    assert hidden[:, 0].tolist() == [False, False, False, True, True, False]  # above the mean of 40
    assert not hidden[:, 1:].any()
    large = pl.DataFrame(np.zeros((4000, 5)))
    assert abs(imputation.at_random(large, 0).mean() - 0.5) < 5 * 0.5 / np.sqrt(20_000)
    gaps = imputation.without(frame, hidden)
    assert gaps["age"].to_list() == [20.0, 30.0, 40.0, None, None, None]
    assert gaps["town"].to_list() == frame["town"].to_list()


def test_the_error_of_filled_cells_by_hand(imputation: ModuleType) -> None:
    """Numbers by the variance of their column, words by the errors of the most frequent one; unknown cells left out."""
    frame, gone = people(), np.array([[1, 0, 1], [0, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 1], [1, 0, 0]], dtype=bool)
    filled = frame.with_columns(pl.Series("age", [30.0, 0, 0, 0, 40.0, 0]), pl.Series("town", ["b"] * 6))
    numbers = (10.0**2 + 20.0**2) / 2 / 200.0
    words = 0.5 / 0.4  # one of two known ones is wrong; by "a" two of five would be
    assert imputation.error(frame, filled, gone) == pytest.approx(np.sqrt((numbers + words) / 2))
    assert imputation.error(frame, frame, gone) == 0.0


@pytest.mark.filterwarnings("ignore:.*Early stopping criterion not reached")  # as it comes, it may not settle
@pytest.mark.parametrize("method", ["mean, mode", "kNN", "IterativeImputer", "forests"])
def test_fillers_leave_what_was_seen_and_beat_the_mean(imputation: ModuleType, method: str) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=200)
    town = np.where(z > 0.5, "c", np.where(z < -0.5, "a", "b"))
    frame = pl.DataFrame({"x": z, "y": 3 - 2 * z + 0.1 * rng.normal(size=200), "town": town})
    gone = rng.random((200, 3)) < 0.2
    filled = imputation.METHODS[method](imputation.without(frame, gone), 0)
    assert filled.null_count().sum_horizontal().item() == 0
    for i, name in enumerate(frame.columns):
        np.testing.assert_array_equal(filled[name].to_numpy()[~gone[:, i]], frame[name].to_numpy()[~gone[:, i]])
    error = imputation.error(frame, filled, gone)
    assert error < 0.75 or method == "mean, mode"


def test_a_stopped_benchmark_goes_on(tables: ModuleType, tmp_path: Path) -> None:
    calls = []

    def find() -> dict[str, float]:
        calls.append(1)
        return {"area": 0.5, "seconds": 3.0}

    first = tables.Results(str(tmp_path / "work"), limit=5)
    assert first.once(["a", 0], find) == first.once(["a", 0], find) == {"area": 0.5, "seconds": 3.0}
    first.once(["a", 1], find)
    assert first.once(["a", 2], find) is None, "beyond its limit"
    again = tables.Results(str(tmp_path / "work"))
    assert again.once(["a", 1], find) == {"area": 0.5, "seconds": 3.0}
    assert len(calls) == 2
    assert again.cell([{"area": 1.0}, {"area": 2.0}, None], "area") == "1.500 ± 0.500"
    assert again.cell([None], "area") == "-"


def test_real_rows_are_the_best_synthetic_ones(synthetic: ModuleType) -> None:
    """Of the same rows columns and pairs are 0 apart and all are copies; of shuffled columns the pairs are not."""
    rng = np.random.default_rng(0)
    age, words = rng.normal(40, 10, 400).round(3), np.array(["<=50K", ">50K"])
    real = pl.DataFrame({"age": age, "town": rng.choice(["a", "b"], 400), "income": words[(age > 45).astype(int)]})
    same = synthetic.judged(real, real, real, 0)
    assert same["columns"] == same["pairs"] == 0.0
    assert same["copies"] == 1.0
    assert same["F1"] > 0.95
    mixed = synthetic.judged(real.with_columns(pl.col("age").shuffle(1)), real, real, 0)
    assert mixed["columns"] == 0.0
    assert mixed["pairs"] > 0.05
    assert mixed["F1"] < 0.8
    assert synthetic.apart(np.array([0, 0, 1, 1]), np.array([0, 2, 2, 2])) == pytest.approx(0.75)
