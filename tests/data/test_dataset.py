"""Splits, scaling of difficult columns, digests."""

import math

import numpy as np
import pytest
import torch

from vaelab.data import Dataset, open_source
from vaelab.errors import DataError, UsageError


def numbers(rows: int) -> Dataset:
    x = np.arange(rows * 3, dtype=float).reshape(rows, 3) + 0.5
    return open_source(x, labels=np.arange(rows))


def test_a_split_is_a_partition_that_depends_on_the_seed_alone() -> None:
    data = numbers(100)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train, valid = data.split(0.1, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert valid is not None
    assert len(valid) == 10
    assert sorted([*train.labels, *valid.labels]) == list(range(100))
    assert torch.equal(valid.x[:, 0], torch.as_tensor(valid.labels * 3 + 0.5))
    assert np.array_equal(data.split(0.1, seed=3)[1].labels, valid.labels)
    assert not np.array_equal(data.split(0.1, seed=4)[1].labels, valid.labels)
    assert len(data.split(17, seed=0)[1]) == 17
    assert data.split(0, seed=0) == (data, None)


@pytest.mark.parametrize(
    ("rows", "validation", "error", "words"),
    [
        (1, 0.1, DataError, r"1 sample is too few to train \(need at least 10; got 1\)\."),
        (9, 0, DataError, r"9 samples are too few to train \(need at least 10; got 9\)\."),
        (12, 5, DataError, "7 samples are too few to train after 5 of 12 went to validation"),
        (50, -0.1, UsageError, "expected a fraction"),
        (50, 1.5, UsageError, "a number of rows is whole"),
        (50, 1.0, UsageError, "no row to train on"),
        (50, 50, UsageError, "none is left to train on"),
        (50, math.nan, UsageError, "expected a fraction"),
        (50, True, UsageError, "expected a fraction"),
    ],
)
def test_splits_that_cannot_be_are_refused(rows: int, validation: float, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        numbers(rows).split(validation, seed=0)


def test_the_digest_sees_values_order_and_type() -> None:
    data = numbers(20)
    assert data.digest == numbers(20).digest
    changed = data.x.clone()
    changed[3, 1] += 1e-12
    assert len({data.digest, open_source(changed).digest, data.take(list(range(19, -1, -1))).digest}) == 3


def test_a_column_constant_in_training_has_scale_1_and_others_a_floor() -> None:
    x = torch.zeros(40, 3, dtype=torch.float64)
    x[:, 0] = 0.1 + 0.2
    x[:, 1] = torch.linspace(0, 1, 40)
    x[7, 2] = 5.0
    train = open_source(x).fit_scaling()
    encoded = train.schema.encode(x)
    assert torch.isfinite(encoded).all()
    assert encoded[:, 0].abs().max() < 1e-6
    assert encoded[7, 2] == pytest.approx(math.sqrt(39))
    assert any("hardly varies" in note for note in train.notes)
    assert any("entry [2] is constant but for one training row" in note for note in train.notes)


def test_values_beyond_float32_after_scaling_are_refused_before_the_cast() -> None:
    x = np.random.default_rng(0).normal(size=(30, 2))
    train = open_source(x).fit_scaling()
    x[4, 1] = 1e39
    with pytest.raises(DataError, match=r"entry \[1\] row 5 is 1e\+39, beyond float32"):
        open_source(x, schema=train.schema)
    assert torch.isfinite(open_source(x).fit_scaling().schema.encode(torch.as_tensor(x))).all()
    with pytest.raises(DataError, match="too large to square"):
        open_source(x * 1e200).fit_scaling()
