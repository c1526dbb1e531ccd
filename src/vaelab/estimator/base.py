"""What the estimators share: parameters, fitting, and the score of rows."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..data import Dataset
from ..errors import UsageError
from ..planning import plan_run
from ..recipes import find
from ..run import Run
from ..training import Progress, steps_per_epoch
from ..use import expected
from .rows import new_rows, training_rows

Array = NDArray[Any]

FLOATS = (np.float64, np.float32)
STEPS = 5000  # that are aimed at
FEWEST, MOST, BLIND = (
    30,
    1000,
    300,
)  # passes over the rows: at least, at most, and at most where nothing says when to stop
WIDTH = (128,)  # of hidden layers
DECIDES = 10  # fewer validation rows than this cannot say when to stop: then all rows are trained on
PASSED = ("hidden", "prior", "posterior", "likelihood", "objective", "beta", "batch_size", "lr")


class BaseVAE(BaseEstimator):
    """Parameters are kept as they are given, and judged by `fit`; what `fit` finds out ends in an underscore.

    After it, results are in float64 and their noise is the same for every row: equal rows give equal results, in any
    company and order.
    """

    _missing = "refuse"  # where `missing` is not said
    _recipe = "vae"  # where `recipe` is not said

    def __init__(
        self,
        n_components: int | Sequence[int] | None = None,
        *,
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
        self.n_components = n_components
        self.hidden = hidden
        self.recipe = recipe
        self.prior = prior
        self.posterior = posterior
        self.likelihood = likelihood
        self.objective = objective
        self.beta = beta
        self.missing = missing
        self.samples = samples
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.lr = lr
        self.validation = validation
        self.options = options
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train a model on rows X (n_samples, n_features); y is not used.

        Raises ValueError for what cannot be trained on: fewer than 10 rows, infinities, NaN unless missing="model".
        """
        self._fit(X)
        return self

    def _fit(self, X: Any) -> Array:
        """Train, and return the rows as they were checked."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)  # a fit that fails leaves nothing half of the one before
        self._check_parameters()
        X = self._checked(X, reset=True)
        self.seed_ = seed_from(self.random_state)
        self._train(X)
        return X

    def _train(self, X: Array) -> bool:
        """Train on rows that were checked; return whether training came to its end."""
        data = training_rows(X, names_of(self), self.likelihood)
        with Progress("plain" if self.verbose else "off") as shown:
            run = plan_run(data, **self._options(len(X)), seed=self.seed_).run(shown.report)
        assert run.history is not None
        if interrupted := run.history.stopped == "interrupted":
            said = f"{type(self).__name__}: fit was interrupted; the model is what was reached by then."
            warnings.warn(said, ConvergenceWarning, stacklevel=3)
        self.run_ = Run(run.model, run.schema, run.meta, run.history)  # the rows stay with the user
        self.n_iter_ = int(run.history.records[-1]["epoch"])
        return not interrupted

    def score_samples(self, X: Any) -> Array:
        """log 1/K sum_k p(x, z_k) / q(z_k | x), z_k ~ q(z | x), K = `samples`: a bound on log p(x), (n_samples,) nats.

        In expectation a lower bound (Burda et al. 2016, eq. 8), in the units of X: densities take the Jacobian of the
        scaling. Of rows with missing values log p(what was observed). Raises ValueError for a model without log p(x).
        """
        return self._log_likelihood(self._checked(X))

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean over rows of `score_samples`, in nats; y is not used."""
        return float(self.score_samples(X).mean())

    def _log_likelihood(self, X: Array) -> Array:
        return self.run_.score(self._rows(X), samples=self.samples, seed=self.seed_).numpy()

    def _filled(self, X: Array) -> Array:
        """Return X with each NaN replaced by E[x | what was observed of its row]."""
        out, gaps = X.copy(), np.isnan(X)
        if (rows := gaps.any(1)).any():
            values = expected(self.run_.model, self._rows(X[rows]), samples=self.samples, seed=self.seed_)
            out[gaps] = as_given(values, X)[gaps[rows]]
        return out

    def _checked(self, X: Any, *, reset: bool = False, gaps: bool | None = None) -> Array:
        """Return X as floats, in scikit-learn's words where it cannot be; `gaps`: whether NaN may be there."""
        if not reset:
            check_is_fitted(self)
        gaps = self._models_gaps if gaps is None else gaps
        finite = "allow-nan" if gaps else True
        return validate_data(self, X, reset=reset, dtype=FLOATS, ensure_all_finite=finite, ensure_min_samples=1 + reset)

    def _rows(self, X: Array) -> Dataset:
        return new_rows(X, self.run_.schema)

    @property
    def _models_gaps(self) -> bool:
        return (self.missing or self._missing) == "model"

    def _check_parameters(self) -> None:
        if self.missing not in (None, "refuse", "model"):
            raise UsageError(f"missing is {self.missing!r}: expected 'refuse' or 'model'.")
        counts = {"max_iter": self.max_iter, "samples": self.samples, **_each("n_components", self.n_components)}
        for name, value in counts.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, Integral) or value < 1):
                raise UsageError(f"{name} is {value!r}: expected a whole number from 1 on.")

    def _options(self, rows: int) -> dict[str, Any]:
        """Return what `vaelab.train` is told."""
        told = {name: value for name in PASSED if (value := getattr(self, name)) is not None}
        recipe = find(self.recipe or self._recipe)
        told["recipe"] = recipe.name
        if self.hidden is not None:
            told["hidden"] = _several(self.hidden)
        elif "hidden" not in recipe.parts:
            told["hidden"] = WIDTH
        if self.n_components is not None:
            sizes = _several(self.n_components)
            told["latent_dim"] = sizes if len(sizes) > 1 else sizes[0]
        share = recipe.validation if self.validation is None else self.validation
        told["validation"] = 0 if 0 < share < 1 and round(share * rows) < DECIDES else share
        if self.max_iter is not None:
            told["epochs"] = self.max_iter
        elif recipe.pace is None and "minutes" not in (self.options or {}):
            told["epochs"] = passes(rows, self.batch_size or 100, MOST if told["validation"] else BLIND)
        return told | dict(self.options or {})

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "run_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._models_gaps
        return tags


def passes(rows: int, batch_size: int, most: int) -> int:
    """Return the passes over the rows that make about 5,000 steps, but 30 at least and `most` at most."""
    return min(most, max(FEWEST, round(STEPS / steps_per_epoch(rows, batch_size))))


def seed_from(random_state: Any) -> int:
    """Return a seed: drawn from a RandomState, the number itself, or for None one that the operating system gives.

    scikit-learn takes NumPy's global generator for None; here it is neither read nor moved.
    """
    if random_state is None:
        return secrets.randbelow(2**31)
    if not isinstance(random_state, Integral):
        return int(check_random_state(random_state).randint(2**31))
    if not 0 <= (seed := int(random_state)) < 2**32:
        raise UsageError(f"random_state is {seed}: expected 0 to 2^32 - 1.")
    return seed


def names_of(estimator: BaseEstimator) -> tuple[str, ...]:
    """Return the names of the features; x0, x1, ... where X had none."""
    names = getattr(estimator, "feature_names_in_", None)
    return tuple(f"x{i}" for i in range(estimator.n_features_in_)) if names is None else tuple(map(str, names))


def as_given(rows: torch.Tensor, like: Array) -> Array:
    """Return rows as an array of the type of another."""
    return rows.numpy().astype(like.dtype, copy=False)


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else (value,)


def _each(name: str, value: Any) -> dict[str, Any]:
    several = _several(value)
    return {name: value} if len(several) == 1 else {f"{name}[{i}]": item for i, item in enumerate(several)}
