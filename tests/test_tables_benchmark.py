"""The benchmark of tables: who is fitted and judged on what, and a small run of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

FILE = Path(__file__).parents[1] / "benchmarks" / "tables.py"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_tables", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    tables.anomalies(2, "two cultivars")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| data | rows | forest |"
    assert [line.split(" | ")[1] for line in lines[2:4]] == ["novelty", "contaminated"]
    area = float(lines[2].split(" | ")[2].split(" ± ")[0])
    assert 0.8 < area <= 1, "the areas are turned round"
