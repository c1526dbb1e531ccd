"""The score-function estimator with each kind of baseline: what `objectives.Score` is measured against."""

from __future__ import annotations

from torch import Tensor

from ..models import Terms
from ..objectives import BoundObjective
from ..objectives.score import surrogate


class Plain(BoundObjective):
    """E_q[f], its gradient by the score of q, with a baseline that is no good: "none", or the mean of all draws, "own".

    f is log p(x | z) less the closed-form KL. "own" uses the draw itself, so the gradient shrinks by (K - 1) / K.
    """

    gradient = "score"

    def __init__(self, baseline: str = "none", samples: int = 4) -> None:
        super().__init__()
        self.baseline, self.samples = baseline, samples

    def bound(self, terms: Terms, step: int) -> Tensor:
        """Return the bound of each row, (B,), its gradient that of the estimator."""
        value = terms.log_px - terms.kl_total
        level = value.mean(0) if self.baseline == "own" else 0.0
        return value.mean(0) + surrogate(terms, (value - level) / self.samples)


class OfLogWeight(BoundObjective):
    """E_q[log w] by the score of q with a leave-one-out baseline, log w itself held: exact where q is p(z | x).

    There log w is log p(x) at every draw, so every signal is 0.
    """

    gradient = "score"

    def __init__(self, samples: int = 4) -> None:
        super().__init__()
        self.samples = samples

    def bound(self, terms: Terms, step: int) -> Tensor:
        """Return the bound of each row, (B,), its gradient that of the estimator in q alone."""
        value = terms.log_w.detach()
        others = (value.sum(0) - value) / (self.samples - 1)
        return value.mean(0) + surrogate(terms, (value - others) / self.samples)
