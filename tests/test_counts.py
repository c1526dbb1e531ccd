"""Counts from file to file: found, encoded, trained on, judged, written; what is no count is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import vaelab
from vaelab.data import Schema, as_counts, choose_likelihood, open_source
from vaelab.errors import DataError, UsageError


def cells(rows: int = 300, seed: int = 3) -> np.ndarray:
    """Two kinds of cells, five genes of very different abundance."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, rows)[:, None]
    mean = np.where(kind, [2000, 30, 1, 0.3, 5], [500, 60, 4, 0.3, 1])
    return rng.poisson(rng.gamma(5, mean / 5))


def test_wide_whole_numbers_from_0_are_counts() -> None:
    data = open_source(cells())
    assert data.schema.values == "count"
    assert choose_likelihood(data.schema)[0] == "negative-binomial"
    x = data.schema.encode(data.x)
    assert torch.equal(x.double(), data.x.double())
    assert torch.equal(data.schema.decode(x + 0.3, round=True), data.x.double())
    assert data.schema.log_det().item() == 0  # a mass, in any units
    for other in (cells() + 1, cells() - 1, cells() * 2**16):
        assert open_source(other).schema.values == "real"
    assert open_source(cells() % 100).schema.values == "integer"


def test_counts_have_no_upper_end_and_new_rows_must_be_counts() -> None:
    schema = open_source(cells()).schema
    more = cells(20) * 100
    assert torch.equal(open_source(more, schema=schema).x, torch.as_tensor(more).double())
    for wrong in (-1.0, 0.5, 2.0**25):
        x = cells(20).astype(float)
        x[7, 2] = wrong
        with pytest.raises(DataError, match=r"row 8 is .*expected a count"):
            open_source(x, schema=schema)


def test_only_whole_numbers_from_0_become_counts_when_asked() -> None:
    data = open_source(cells() % 100)
    assert as_counts(data.schema, [data]).high == 99  # type: ignore[union-attr]
    real = open_source(cells() + 0.5)
    assert as_counts(real.schema, [real]) is None
    with pytest.raises(UsageError, match="Poisson likelihood is for binary or count values"):
        vaelab.plan_run(cells() + 0.5, likelihood="poisson")
    with pytest.raises(UsageError, match="begin at 0"):
        Schema(name="x", layout="array", shape=(2,), values="count", low=1, high=5)


def test_counts_through_training_to_files(tmp_path: Path) -> None:
    run = vaelab.train(cells(), latent_dim=2, hidden="16", epochs=30, progress="off", threads=1)
    assert run.meta["parts"]["likelihood"] == "negative-binomial"
    judged = run.evaluate(samples=20)
    assert judged.bits_per_dimension is not None
    # against independent counts at their overall means: the model knows the two kinds
    x = torch.as_tensor(cells())
    assert judged.elbo.value > torch.distributions.Poisson(x.double().mean(0)).log_prob(x).sum(1).mean()
    run.save(tmp_path / "cells.safetensors")
    new = vaelab.load(tmp_path / "cells.safetensors").generate(40)
    assert torch.equal(new, new.round())
    assert new.min() >= 0
    # the unit of each gene is its mean count, found before the first step and saved
    abundance = new.double().mean(0) / torch.as_tensor(cells()).double().mean(0)
    assert (abundance.log().abs() < 1).all()


def test_a_table_of_counts_when_asked(tmp_path: Path) -> None:
    lines = "\n".join(",".join(map(str, row)) for row in cells())
    (tmp_path / "genes.csv").write_text(f"a,b,c,d,e\n{lines}\n")
    run = vaelab.train(
        tmp_path / "genes.csv", likelihood="zero-inflated-poisson", hidden="16", epochs=2, progress="off"
    )
    assert run.schema.values == "count"
    assert torch.equal(run.generate(9), run.generate(9).round())
