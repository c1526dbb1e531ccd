"""A VAE as a transformer."""

from __future__ import annotations

from typing import Any

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from ..use import generate
from .base import FLOATS, Array, BaseVAE, as_given, seed_from


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseVAE):
    """x -> E[z | x]: rows of numbers to the means of q(z | x), and back; with log p(x), draws, and gaps filled.

    n_components  latent dimensions (default: a quarter of the features, from 2 to 20); of each layer "20,10" as a tuple
    hidden        widths of the hidden layers (default: 128, or the recipe's); () for a linear model
    recipe, prior, posterior, likelihood, objective, beta, batch_size, lr   as for `vaelab.train`. Features are real
                  numbers, standardised by the training rows, unless a likelihood of others is named
    missing       "refuse" NaN, or "model": p(x_observed) is trained, scored and encoded
    samples       K, the draws behind `score`, `score_samples` and `impute`
    max_iter      passes over the rows (default: about 5,000 steps; 30 passes to 1,000, or 300 without validation rows)
    validation    share of the rows that say when to stop (default: 0.1; 0 by recipes that fill gaps); all rows are
                  trained on where it makes fewer than 10
    options       whatever else `vaelab.train` takes, {"warmup": 5}
    random_state  of weights, split, order and noise; None is new each time, and leaves NumPy's generator alone

    After fit: `run_`, the `vaelab.Run` without its rows (`run_.save(path)` writes a file that loads without pickle);
    `n_iter_`, passes made; `seed_`; `n_features_in_`, `feature_names_in_`.

    >>> X = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)).numpy()
    >>> vae = estimator.VAE(2, max_iter=5, random_state=0).fit(X)
    >>> vae.transform(X).shape, vae.sample(3).shape, list(vae.get_feature_names_out())
    ((200, 2), (3, 4), ['vae0', 'vae1'])
    """

    def transform(self, X: Any) -> Array:
        """E[z | x] under q(z | x): (n_samples, n_components), of the type of X."""
        X = self._checked(X)
        return as_given(self.run_.encode(self._rows(X), seed=self.seed_).mean, X)

    def inverse_transform(self, X: Any) -> Array:
        """E[x | z] for places z (n_samples, n_components): (n_samples, n_features), in the units of the data."""
        check_is_fitted(self)
        z = check_array(X, dtype=FLOATS)
        return as_given(self.run_.decode(z), z)

    def impute(self, X: Any) -> Array:
        """Return X with each NaN replaced by E[x | what was observed of the row]; all else as it stands.

        By self-normalised importance weighting of K = `samples` draws. Models that are to fill gaps should be fitted
        with missing="model" on rows that have some: an encoder that never met one gives poor draws. `ImputerVAE` is
        trained for this alone, and fills gaps better.
        """
        return self._filled(self._checked(X, gaps=True))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """z ~ p(z), x ~ p(x | z): (n_samples, n_features), in the units of the data.

        Without a `random_state` of its own it takes the estimator's: an int then gives the same rows every time.
        """
        check_is_fitted(self)
        seed = seed_from(self.random_state if random_state is None else random_state)
        return generate(self.run_.model, self.run_.schema, n_samples, seed=seed).numpy()

    @property
    def _n_features_out(self) -> int:
        return self.run_.latent_dim

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
