"""The scikit-learn estimators: every check of scikit-learn's, closed forms, frames, pipelines, searches, faults."""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import vaelab
from vaelab.errors import DataError, UsageError
from vaelab.estimator import VAE, ImputerVAE, OutlierVAE
from vaelab.estimator.base import passes

SHORT: dict[str, Any] = {"max_iter": 3, "hidden": 8, "samples": 10, "random_state": 0}
NAMES = ["length", "width", "depth"]

FEW = {"max_iter": 20}  # fewer passes than by default, for the sake of time


@parametrize_with_checks([VAE(**FEW), VAE(missing="model", **FEW), OutlierVAE(**FEW), ImputerVAE(**FEW)])
def test_every_check_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def rows(n: int = 60, d: int = 3, gaps: bool = False) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2)) @ rng.normal(size=(2, d)) + 0.3 * rng.normal(size=(n, d)) + 5
    if gaps:
        x[rng.random(x.shape) < 0.2] = np.nan
    return x


def test_the_linear_model_is_probabilistic_pca() -> None:
    """Within 0.01 nats of the closed form, which PCA.score has but for its divisor N - 1; never above by more."""
    x = load_iris().data
    scale = x.std(0)
    z = (x - x.mean(0)) / scale
    exact = PCA(2).fit(z * math.sqrt((len(x) - 1) / len(x)))  # its covariance is then that with divisor N
    truth = exact.score(z * math.sqrt((len(x) - 1) / len(x))) - np.log(scale).sum()
    values = np.linalg.eigvalsh(np.cov(z.T, bias=True))[::-1]
    noise = values[2:].mean()
    best = -0.5 * (4 * math.log(2 * math.pi) + np.log(values[:2]).sum() + 2 * math.log(noise) + 4)
    best -= np.log(scale).sum()
    assert truth == pytest.approx(best, abs=0.02)
    vae = VAE(2, recipe="linear", validation=0, max_iter=600, random_state=0).fit(x)
    assert best - 0.01 < vae.score(x) < best + 0.002
    assert vae.n_iter_ == 600
    means = vae.inverse_transform(vae.transform(x))
    # the reconstruction of E[z | x] is that of PCA, drawn towards the mean by 1 - noise / eigenvalue
    vectors = np.linalg.eigh(np.cov(z.T, bias=True))[1][:, ::-1][:, :2]
    drawn = z @ vectors @ np.diag(1 - noise / values[:2]) @ vectors.T * scale + x.mean(0)
    assert np.abs(means - drawn).max() < 0.1 * scale.max()


def test_rows_that_decide_when_to_stop() -> None:
    """A tenth is held out from 100 rows on; below, all rows are trained on, and fewer times."""
    for n, held in ((60, 0), (120, 12)):
        assert VAE(**SHORT).fit(rows(n)).run_.meta["data"]["validation"] == held
    assert VAE(**{**SHORT, "validation": 0}).fit(rows(120)).run_.meta["data"]["validation"] == 0
    assert [passes(n, 100, 1000) for n in (20, 500, 1000, 10_000, 10**6)] == [1000, 1000, 500, 50, 30]
    assert VAE()._options(20)["epochs"] == 300
    assert "epochs" not in VAE(recipe="linear")._options(20), "this recipe has a pace of its own"
    assert "epochs" not in VAE(options={"minutes": 1})._options(20)
    filling = ImputerVAE()._options(500)  # of every row, since it is these that are filled
    assert (filling["recipe"], filling["validation"]) == ("miwae-missing", 0)
    assert ImputerVAE(validation=0.2)._options(500)["validation"] == 0.2
    assert VAE(missing="model")._options(500)["recipe"] == "vae"


@pytest.mark.parametrize("kind", [VAE, OutlierVAE, ImputerVAE])
def test_parameters_reach_the_training(kind: Any) -> None:
    fitted = kind(
        3, prior="mixture:components=2", objective="elbo", beta=0.5, options={"warmup": 1}, lr=0.01, **SHORT
    ).fit(rows())
    meta = fitted.run_.meta
    assert fitted.run_.latent_dim == 3
    assert meta["parts"]["prior"] == "mixture:components=2"
    assert meta["parts"]["objective"] == "elbo:beta=0.5,warmup=1"
    assert meta["settings"]["lr"] == 0.01
    assert meta["settings"]["seed"] == fitted.seed_ == 0
    assert clone(fitted).get_params() == fitted.get_params()


@pytest.mark.parametrize(
    ("likelihood", "values"),
    [("bernoulli", (0, 1)), ("poisson", (0, 7)), ("categorical", (0, 3)), ("discretized-logistic", (2, 9))],
)
def test_other_likelihoods_take_their_own_values(likelihood: str, values: tuple[int, int]) -> None:
    x = np.random.default_rng(0).integers(values[0], values[1] + 1, (60, 4)).astype(float)
    vae = VAE(2, likelihood=likelihood, **SHORT).fit(x)
    drawn = vae.sample(50)
    assert (drawn == drawn.round()).all()
    assert drawn.min() >= values[0]
    assert np.isfinite(vae.score_samples(x)).all()
    with pytest.raises(DataError, match=r'column "x1" row 3 is 1\.5, expected'):
        vae.score_samples(np.where(np.arange(240).reshape(60, 4) == 9, 1.5, x))


def test_frames_in_and_names_out() -> None:
    x = rows()
    for frame in (pd.DataFrame(x, columns=NAMES), pl.DataFrame(x, schema=NAMES)):
        vae = VAE(2, **SHORT).fit(frame)
        assert list(vae.feature_names_in_) == NAMES
        assert vae.run_.schema.columns == tuple(NAMES)
        assert list(vae.get_feature_names_out()) == ["vae0", "vae1"]
        np.testing.assert_array_equal(vae.transform(frame), VAE(2, **SHORT).fit(x).transform(x))
        with pytest.raises(ValueError, match="feature names should match"):
            vae.transform(frame[NAMES[::-1]])
    out = VAE(2, **SHORT).set_output(transform="pandas").fit_transform(pd.DataFrame(x, columns=NAMES))
    assert list(out.columns) == ["vae0", "vae1"]
    out = VAE(2, **SHORT).set_output(transform="polars").fit_transform(x)
    assert isinstance(out, pl.DataFrame)
    gaps = pl.DataFrame(rows(gaps=True), schema=NAMES).with_columns(pl.all().fill_nan(None))
    filled = ImputerVAE(2, **SHORT).set_output(transform="polars").fit_transform(gaps)
    assert filled.columns == NAMES
    assert not np.isnan(filled.to_numpy()).any()


def test_pipelines_and_searches() -> None:
    x, y = load_wine(return_X_y=True)
    steps = make_pipeline(ImputerVAE(2, **SHORT), StandardScaler(), VAE(2, **SHORT), LogisticRegression())
    assert 0 <= steps.fit(x, y).score(x, y) <= 1
    found = GridSearchCV(VAE(**SHORT), {"n_components": [1, 2], "beta": [0.5, 1.0]}, cv=2).fit(x)
    assert set(found.best_params_) == {"n_components", "beta"}
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()
    best = found.cv_results_["mean_test_score"].argmax()
    assert found.best_params_ == found.cv_results_["params"][best]


@pytest.mark.parametrize("kind", [VAE, OutlierVAE, ImputerVAE])
def test_a_fitted_estimator_survives_pickling_without_its_rows(kind: Any, tmp_path: Any) -> None:
    x = rows(3000)
    fitted = kind(2, **{**SHORT, "max_iter": 1}).fit(x)
    same = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(same.score_samples(x[:9]), fitted.score_samples(x[:9]))
    buffer = io.BytesIO()
    joblib.dump(fitted, buffer)
    assert len(buffer.getvalue()) < x.nbytes, "the training rows went along"
    path = fitted.run_.save(tmp_path / "model.safetensors")
    scores = vaelab.load(path).score(x[:9], samples=10, seed=fitted.seed_)
    np.testing.assert_allclose(scores.numpy(), fitted.score_samples(x[:9]), rtol=1e-12)


def test_equal_seeds_are_equal_fits(untouched: Any) -> None:
    x = rows()
    state = np.random.get_state()[1].copy()
    with untouched():
        first, second, third = (
            VAE(2, **{**SHORT, "random_state": seed}).fit(x).score_samples(x)
            for seed in (3, np.random.RandomState(1), None)
        )
    assert (np.random.get_state()[1] == state).all()
    np.testing.assert_array_equal(first, VAE(2, **{**SHORT, "random_state": 3}).fit(x).score_samples(x))
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


def test_gaps_train_score_and_come_back_filled() -> None:
    x = rows(300, 4, gaps=True)
    vae = VAE(2, missing="model", max_iter=200, hidden=16, samples=200, random_state=0).fit(x)
    filled = vae.impute(x)
    seen = ~np.isnan(x)
    assert (filled[seen] == x[seen]).all()
    truth = rows(300, 4)
    error = np.sqrt(np.square(filled - truth)[~seen].mean())
    by_means = np.sqrt(np.square(np.nanmean(x, 0) - truth)[~seen].mean())
    assert error < 0.8 * by_means, f"{error:.3f}, by the means {by_means:.3f}"
    assert vae.impute(truth) is not truth
    np.testing.assert_array_equal(vae.impute(truth), truth)
    assert vae.impute(x.astype(np.float32)).dtype == np.float32
    # a score of what was observed: the rows with one entry less are not all less likely
    assert np.isfinite(vae.score_samples(x)).all()
    nothing = vae.impute(np.full((1, 4), np.nan))
    assert (np.abs(nothing - truth.mean(0)) < 3 * truth.std(0)).all()


def test_half_precision_is_kept_and_scores_are_double() -> None:
    vae = VAE(2, **SHORT).fit(rows())
    single = rows().astype(np.float32)
    assert vae.transform(single).dtype == vae.inverse_transform(vae.transform(single)).dtype == np.float32
    assert vae.score_samples(single).dtype == np.float64


FAULTS = [
    ({"missing": "ignore"}, "missing is 'ignore': expected 'refuse' or 'model'"),
    ({"n_components": 0}, "n_components is 0: expected a whole number from 1 on"),
    ({"n_components": 2.5}, "n_components is 2.5"),
    ({"max_iter": 0}, "max_iter is 0"),
    ({"samples": True}, "samples is True"),
    ({"random_state": -1}, "random_state is -1: expected 0 to"),
    ({"likelihood": "gausian"}, "Did you mean gaussian?"),
    ({"recipe": "bvae"}, "unknown recipe 'bvae'"),
    ({"options": {"warm_up": 3}}, "Did you mean warmup?"),
    ({"validation": -1}, "validation is -1"),
]


@pytest.mark.parametrize(("wrong", "message"), FAULTS, ids=[message[:30] for _, message in FAULTS])
def test_a_wrong_parameter_is_named_by_fit(wrong: dict[str, Any], message: str) -> None:
    vae = VAE(**{**SHORT, **wrong})
    with pytest.raises(UsageError) as error:
        vae.fit(rows())
    assert message in str(error.value)
    with pytest.raises(NotFittedError):
        vae.transform(rows())


@pytest.mark.parametrize("share", [0, 0.6, "auto", True])
def test_contamination_is_a_share(share: Any) -> None:
    with pytest.raises(UsageError, match=r"contamination is .*: expected a share in \(0, 0\.5\]"):
        OutlierVAE(contamination=share, **SHORT).fit(rows())


@pytest.mark.parametrize("trim", ["yes", 0.1, None])
def test_trim_is_a_truth(trim: Any) -> None:
    with pytest.raises(UsageError, match="expected True or False"):
        OutlierVAE(trim=trim, **SHORT).fit(rows())


def test_rows_that_cannot_be_used() -> None:
    x = rows()
    for bad, message in (
        (csr_array(x), "dense data is required"),
        (x[:7], "7 samples are too few to train"),
        (np.where(x == x[4, 1], np.inf, x), "infinity"),
        (x[0], "Reshape your data"),
    ):
        for kind in (VAE(**SHORT), VAE(missing="model", **SHORT), OutlierVAE(**SHORT), ImputerVAE(**SHORT)):
            with pytest.raises((ValueError, TypeError), match=message):
                kind.fit(bad)
    for kind in (VAE(missing="model", **SHORT), ImputerVAE(**SHORT)):
        with pytest.raises(DataError, match='column "x1" has no value in any row'):
            kind.fit(np.where(np.arange(3) == 1, np.nan, x))
    vae = VAE(2, **SHORT).fit(x)
    with pytest.raises(ValueError, match="expecting 3 features"):
        vae.impute(x[:, :2])
    with pytest.raises(ValueError, match=r"needs \(rows, 2\)"):
        vae.inverse_transform(x)
    with pytest.raises(UsageError, match="n must not be negative"):
        vae.sample(-1)


def test_models_without_a_density_say_so() -> None:
    codes = VAE(2, recipe="autoencoder", **SHORT).fit(rows())
    assert codes.transform(rows()).shape == (60, 2)
    for use in (codes.score_samples, lambda x: codes.impute(np.where(x > 6, np.nan, x))):
        with pytest.raises(UsageError, match=r"no bound on log p\(x\)"):
            use(rows())
    detector = OutlierVAE(2, **SHORT).fit(rows())
    with pytest.raises(UsageError, match="no log p"):
        detector.set_params(recipe="autoencoder").fit(rows())
    with pytest.raises(NotFittedError):  # not as it was fitted before either
        detector.score_samples(rows())


def test_an_interrupted_fit_says_so_and_holds_what_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    from vaelab.training.stepper import Stepper

    steps = Stepper.step

    def stop(self: Any, *args: Any) -> Any:
        if self.state.step == 2:
            raise KeyboardInterrupt
        return steps(self, *args)

    monkeypatch.setattr(Stepper, "step", stop)
    with pytest.warns(ConvergenceWarning, match="fit was interrupted"):
        vae = VAE(2, **{**SHORT, "max_iter": 50}).fit(rows())
    assert np.isfinite(vae.transform(rows())).all()
    assert vae.n_iter_ < 50


def test_several_layers_and_progress(capsys: pytest.CaptureFixture[str]) -> None:
    vae = VAE((3, 2), recipe="hierarchical", verbose=1, **{**SHORT, "hidden": (8, 8)}).fit(rows())
    assert vae.transform(rows()).shape == (60, 5)
    assert len(vae.get_feature_names_out()) == 5
    shown = capsys.readouterr()
    assert "epoch 3" in shown.err
    assert not shown.out
    assert torch.get_default_dtype() == torch.float32
