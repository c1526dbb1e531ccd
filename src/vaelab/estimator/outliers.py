"""A VAE as a detector of outliers: rows of low log p(x)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import OutlierMixin

from ..errors import UsageError
from .base import Array, BaseVAE

SHARE = 0.75  # of the rows, that are trained on until it is known which are strange
FEWEST_TRIMMED = 30  # rows that this must leave
DEVIATIONS = 3.0


def strangeness(x: Array) -> Array:
    """Return the mean over what was observed of ((x - median) / deviation)², (n_samples,); by the median deviation."""
    off = np.abs(x - np.nanmedian(x, 0))
    deviation = 1.4826 * np.nanmedian(off, 0)
    spread = np.nanstd(x, 0)  # of a column that has one value in most rows
    deviation = np.where(deviation > 0, deviation, np.where(spread > 0, spread, 1.0))
    squares, seen = np.nan_to_num(off / deviation) ** 2, np.isfinite(x)
    distance: Array = squares.sum(1) / seen.sum(1).clip(min=1)
    return distance


def lowest(score: Array) -> float:
    """Return the median less three deviations, by what lies below the median: scores have a long lower tail anyway."""
    middle = float(np.median(score))
    below = middle - score[score <= middle]
    return middle - DEVIATIONS * 1.4826 * float(np.median(below))


class OutlierVAE(OutlierMixin, BaseVAE):
    """Outliers are the rows whose log p(x) is below `offset_`: its quantile at `contamination` over the training rows.

    contamination  the share of the training rows that are outliers, in (0, 0.5]; the other parameters are those of
                   `VAE`. It moves the threshold alone: model and scores are the same for any.

    trim           whether rows that look like outliers are left out of the training, as below: a VAE that has seen
                   some learns them, as it learns all else. False for rows that are known to be normal

    Trimming, as robust covariances are fitted (Rousseeuw & Van Driessen 1999, FAST-MCD): trained first on the three
    quarters nearest to the medians, then on the three quarters that this model finds likeliest, at last on all rows but
    those whose log p(x) lies further below the median than three deviations. Three trainings in place of one.

    After fit: `offset_`, nats; `kept_`, which training rows were trained on; `run_`, `n_iter_`, `seed_` as for `VAE`.

    >>> X = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)).numpy()
    >>> detector = estimator.OutlierVAE(2, contamination=0.05, max_iter=5, random_state=0).fit(X)
    >>> int((detector.predict(X) == -1).sum())
    10
    """

    def __init__(
        self,
        n_components: int | Sequence[int] | None = None,
        *,
        contamination: float = 0.1,
        trim: bool = True,
        hidden: int | Sequence[int] | None = None,
        recipe: str | None = None,
        prior: str | None = None,
        posterior: str | None = None,
        likelihood: str | None = None,
        objective: str | None = None,
        beta: float | None = None,
        missing: str | None = None,
        samples: int = 100,
        max_iter: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        validation: float | None = None,
        options: Mapping[str, Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            n_components,
            hidden=hidden,
            recipe=recipe,
            prior=prior,
            posterior=posterior,
            likelihood=likelihood,
            objective=objective,
            beta=beta,
            missing=missing,
            samples=samples,
            max_iter=max_iter,
            batch_size=batch_size,
            lr=lr,
            validation=validation,
            options=options,
            random_state=random_state,
            verbose=verbose,
        )
        self.contamination = contamination
        self.trim = trim

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train a model on rows X (n_samples, n_features), and find the threshold; y is not used.

        Raises ValueError for what cannot be trained on, and for a model without log p(x).
        """
        share = self.contamination
        if isinstance(share, bool) or not isinstance(share, Real) or not 0 < share <= 0.5:
            raise UsageError(f"contamination is {share!r}: expected a share in (0, 0.5].")
        if not isinstance(self.trim, (bool, np.bool_)):
            raise UsageError(f"trim is {self.trim!r}: expected True or False.")
        X = self._fit(X)
        self.offset_: float = float(np.quantile(self._log_likelihood(X), share))
        return self

    def _train(self, X: Array) -> bool:
        """Train on the rows that look normal."""
        self.kept_ = np.ones(len(X), dtype=bool)
        some = round(SHARE * len(X))
        if not self.trim or some < FEWEST_TRIMMED:
            return super()._train(X)
        score = -strangeness(X)
        for _ in range(2):
            nearest = np.sort(np.argsort(-score, kind="stable")[:some])
            if not super()._train(X[nearest]):
                return False
            score = self._log_likelihood(X)
        self.kept_ = score >= lowest(score)
        return super()._train(X[self.kept_])

    def decision_function(self, X: Any) -> Array:
        """Return `score_samples` less `offset_`, (n_samples,) nats: below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Array:
        """Return -1 for outliers and 1 for the others, (n_samples,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "offset_")
