"""A VAE that fills gaps, as a step of a pipeline."""

from __future__ import annotations

from typing import Any

from sklearn.base import OneToOneFeatureMixin, TransformerMixin

from .base import Array, BaseVAE


class ImputerVAE(OneToOneFeatureMixin, TransformerMixin, BaseVAE):
    """x -> x with each missing value replaced by its expectation, given what was observed of the row.

    Before a classifier, in a pipeline. The parameters are those of `VAE`, but that `missing` is "model" and the recipe
    "miwae-missing" unless said: the importance-weighted bound of what was observed (Mattei & Frellsen 2019), of every
    row. "not-miwae" is for values that hide themselves.

    >>> X = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)).numpy()
    >>> X[::3, 1] = float("nan")
    >>> filled = estimator.ImputerVAE(2, max_iter=5, random_state=0).fit_transform(X)
    >>> bool((filled == filled).all()), bool((filled[:, 0] == X[:, 0]).all())  # no NaN; what was there stays
    (True, True)
    """

    _missing = "model"
    _recipe = "miwae-missing"

    def transform(self, X: Any) -> Array:
        """Return X with each NaN replaced by E[x | what was observed of the row]; all else as it stands."""
        return self._filled(self._checked(X, gaps=True))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
