"""A VAE as a detector of outliers: rows of low log p(x)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import OutlierMixin

from ..errors import UsageError
from .base import Array, BaseVAE


class OutlierVAE(OutlierMixin, BaseVAE):
    """Outliers are the rows whose log p(x) is below `offset_`: its quantile at `contamination` over the training rows.

    contamination  the share of the training rows that are outliers, in (0, 0.5]; the other parameters are those of
                   `VAE`. It moves the threshold alone: model and scores are the same for any.

    After fit: `offset_`, nats; `run_`, `n_iter_`, `seed_` as for `VAE`.

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
        hidden: int | Sequence[int] | None = None,
        recipe: str = "vae",
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
        validation: float = 0.1,
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

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train a model on rows X (n_samples, n_features), and find the threshold; y is not used.

        Raises ValueError for what cannot be trained on, and for a model without log p(x).
        """
        share = self.contamination
        if isinstance(share, bool) or not isinstance(share, Real) or not 0 < share <= 0.5:
            raise UsageError(f"contamination is {share!r}: expected a share in (0, 0.5].")
        X = self._fit(X)
        self.offset_: float = float(np.quantile(self._log_likelihood(X), share))
        return self

    def decision_function(self, X: Any) -> Array:
        """Return `score_samples` less `offset_`, (n_samples,) nats: below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Array:
        """Return -1 for outliers and 1 for the others, (n_samples,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "offset_")
