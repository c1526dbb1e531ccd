"""Exact checks of rows that lie on the disk: each row once, in the units of the training rows."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from exact import check
from vaelab.data import open_source, stored
from vaelab.noise import Noise
from vaelab.training import Rows

N, D = 103, 3


@check
def rows_on_the_disk_are_seen_once() -> None:
    before = stored.BLOCK, stored.BUCKET
    stored.BLOCK, stored.BUCKET = 10 * 8 * D, 20 * 8 * D
    try:
        with tempfile.TemporaryDirectory() as place:
            x = np.random.default_rng(0).normal(size=(N, D))
            np.save(Path(place) / "x.npy", x)
            data = open_source(Path(place) / "x.npy", cache=f"{place}/cache")
            assert data.store is not None
            assert sorted(data.numbers.tolist()) == list(range(1, N + 1)), "rows lost or repeated"
            assert np.array_equal(data.x.numpy(), x[data.numbers - 1]), "numbers of other rows"
            train, valid = data.split(20, 0)
            assert sorted([*train.numbers.tolist(), *valid.numbers.tolist()]) == list(range(1, N + 1))
            own = x[train.numbers - 1]
            train = train.fit_scaling()
            assert np.allclose(train.schema.loc, own.mean(0), atol=1e-12)
            assert np.allclose(train.schema.scale, own.std(0), atol=1e-12)
            rows = Rows(train, dtype=torch.float64)
            for skip in (0, 7, 31):
                batches = list(rows.shuffled(7, torch.Generator().manual_seed(1), Noise.seeded(0), skip))
                index = torch.cat([batch.index for batch in batches])
                assert len(index) == len(index.unique()) == len(train) - skip, "rows lost or repeated in a pass"
                assert [len(batch.x) for batch in batches[:-1]] == [7] * (len(batches) - 1)
                seen = torch.cat([batch.x for batch in batches])
                truth = (own - own.mean(0)) / own.std(0)
                assert np.allclose(seen.numpy(), truth[index.numpy()], atol=1e-12)
                if not skip:
                    first = index
                assert torch.equal(index, first[skip:]), "a run that goes on takes other rows"
    finally:
        stored.BLOCK, stored.BUCKET = before
