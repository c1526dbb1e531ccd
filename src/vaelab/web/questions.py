"""Questions about single rows and places: the posterior, nearest training rows, intervals, gaps to fill, t-SNE."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import Levels
from ..distributions import draw
from ..errors import UsageError
from ..folder import read_history
from ..noise import Noise, stream
from ..part import inference
from ..run import Run
from ..training import Rows
from ..training.checkpoint import has_checkpoint
from ..use.encode import given as at_rows
from .explored import JUDGED, Explored, Shown

DRAWS = 8  # from the posterior of a row
NEAREST = 5
NUMBERS = 2**25  # entries of training rows that are searched
EMBEDDED = 1000  # rows of a t-SNE
PICKED = 256  # draws of x behind an interval
LEVEL = 0.9


class Questions:
    """What the page asks of a run beside decodes. Each answer is made of the run's own verbs."""

    def __init__(self, explored: Explored) -> None:
        self.explored, self.run = explored, explored.run
        self.embedded: bytes | None = None
        self.train: tuple[Any, Tensor] | None = None

    def posterior(self, number: int, again: int) -> dict[str, Any]:
        """Return mean and deviation of q(z | x) for a row, and eight draws of it; `again` seeds their noise."""
        one = self._row(number)
        codes = self.run.encode(one)
        batch = Rows(one, device=self.run.device).drawn(0).at(slice(None))
        with inference(self.run.model):
            noise = Noise(stream(again, "draw again", self.run.device))
            model: Any = self.run.model
            terms = model.terms(batch.x, samples=DRAWS, observed=batch.observed, condition=batch.condition, noise=noise)
        parts = list(terms.z.values()) if isinstance(terms.z, Mapping) else [terms.z]
        z = torch.cat([part.reshape(DRAWS, -1) for part in parts], 1)
        return {
            "mean": codes.mean[0].tolist(),
            "deviation": codes.deviation[0].tolist(),
            "draws": z.double().clamp(-100, 100).tolist(),
        }

    def nearest(self, z: list[float]) -> dict[str, Any]:
        """Return the training rows that are nearest to E[x | z] in the model's units, and how far they are.

        Each entry counts at most 3 deviations; a word counts 1 where it differs.
        """
        if self.train is None:
            data = self.run.splits.get("train")
            if data is None:
                raise UsageError("the training rows are not known any more")
            data = data.take(range(min(len(data), max(1, NUMBERS // data.schema.dims))))
            self.train = data, Rows(data).drawn(0).data.flatten(1)
        data, known = self.train
        x = self.explored.schema.encode(self.explored.decoded([z]), noise=Noise(stream(0, "nearest"))).flatten(1)
        apart = (known - x).abs().clamp(max=3)
        for column, field in enumerate(self.explored.schema.kinds):
            if isinstance(field, Levels) and not field.ordered:
                apart[:, column] = (apart[:, column] > 0.5).float()
        far = apart.square().sum(1).sqrt()
        best = far.argsort()[:NEAREST]
        shown = self.explored.inputs(data.take(best.tolist()))
        return {
            "names": [str(data.names[i]) for i in best.tolist()],
            "distances": far[best].tolist(),
            "shown": list(shown) if isinstance(shown, bytes) else shown,
        }

    def interval(self, z: list[float]) -> Shown:
        """Return the ends of the interval that holds 90 % of p(x_i | z), each column by itself: two rows of cells."""
        run, schema = self.run, self.explored.schema
        place = torch.tensor([z], dtype=torch.float32, device=run.device)
        with inference(run.model):
            px = self.explored.model.decode(place, at_rows(self.explored.condition, place))
            x = draw(px, PICKED, Noise(stream(0, "interval", run.device)))[:, 0].cpu()
        raw = schema.decode(x, round=True).flatten(1)
        ends = raw.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=raw.dtype), dim=0)
        for column, field in enumerate(schema.kinds):
            if isinstance(field, Levels) and not field.ordered:
                ends[:, column] = torch.nan
        return self.explored.cells(ends)

    def impute(self, number: int, hidden: list[int]) -> dict[str, Any]:
        """Return what the model fills into these columns of a row from the others, with intervals of 90 %."""
        one = self._row(number)
        if max(hidden, default=0) >= one.x.shape[1]:
            raise UsageError(f"hidden names columns by number, 0 to {one.x.shape[1] - 1}")
        seen = torch.ones_like(one.x, dtype=torch.bool) if one.observed is None else one.observed.clone()
        seen[:, hidden] = False
        gapped = replace(one, x=one.x.double().masked_fill(~seen, torch.nan), observed=seen)
        found = self.run.impute(gapped, samples=500, level=LEVEL)
        cells = {name: self.explored.cells(getattr(found, name))[0] for name in ("values", "low", "high")}
        sure = [None if math.isnan(v) else v for v in found.sure[0].flatten().tolist()]
        effective = found.effective[0].item()
        return {**cells, "sure": sure, "effective": effective if math.isfinite(effective) else None}

    def tsne(self) -> bytes:
        """Return t-SNE of the codes of the first 1,000 rows of the map: float32, (N, 2)."""
        if self.embedded is None:
            assert self.explored.seen is not None
            codes = self.explored.seen.codes[:EMBEDDED]
            if len(codes) < 10:
                raise UsageError("t-SNE needs at least ten rows")
            from sklearn.manifold import TSNE

            made = TSNE(perplexity=min(30, (len(codes) - 1) / 3), init="random", random_state=0)
            self.embedded = made.fit_transform(codes).astype("<f4").tobytes()
        return self.embedded

    def history(self) -> dict[str, Any]:
        """Return the records of the training as they stand now, and whether it goes on."""
        folder = self.run.folder
        now = None if folder is None else read_history(folder, self.run.meta)
        return {
            "records": self.explored.records(now or self.run.history),
            "going": folder is not None and has_checkpoint(folder),
        }

    def _row(self, number: int) -> Any:
        assert self.explored.seen is not None
        return self.explored.seen.data.take([number])


def rate_distortion(run: Run, name: str) -> dict[str, Any]:
    """Return KL and -E_q[log p(x | z)] of the rows that a run was judged by, nats per row; None where it has none."""
    data, split = run.data()
    judged = run.evaluate(data.take(range(min(len(data), JUDGED))), samples=50, split=split).json()
    return {"name": name, "rate": judged["kl"]["value"], "distortion": _negative(judged["reconstruction"]["value"])}


def _negative(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else -value
