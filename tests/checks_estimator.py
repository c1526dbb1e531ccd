"""Exact checks of the scikit-learn estimators, around models whose weights are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from torch.distributions import MultivariateNormal

from exact import Linear_, check, close, f64, generator, linear, normal, unbounded
from vaelab.data import Schema
from vaelab.estimator import VAE, ImputerVAE, OutlierVAE
from vaelab.estimator.base import BaseVAE, seed_from
from vaelab.estimator.outliers import lowest, strangeness
from vaelab.noise import SharedNoise, stream
from vaelab.run import Run

LOC, SCALE = normal(5, seed=8), normal(5, seed=9).exp()


def around(o: Linear_, estimator: BaseVAE | None = None) -> BaseVAE:
    """Return an estimator as if it had been fitted: to this model, on data of this location and scale."""
    estimator = VAE(samples=30, missing="model") if estimator is None else estimator
    schema = Schema(name="X", layout="table", shape=(5,), values="real", columns=tuple("abcde"), loc=LOC, scale=SCALE)
    estimator.run_, estimator.seed_, estimator.n_features_in_ = Run(o.model, schema), 7, 5
    return estimator


def some_rows(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows in the units of the model, and which entries are observed; one row has none, one has all."""
    seen = torch.rand(n, 5, generator=generator(1)) < 0.6
    seen[0], seen[1] = False, True
    return normal(n, 5, seed=5), seen


@check
def estimator_transforms_by_the_posterior() -> None:
    """transform is A x + b, inverse_transform W z + m in the user's units, score_samples log N(x) less the Jacobian."""
    o = linear("full")
    vae, (x, seen) = around(o), some_rows()
    raw = (x * SCALE + LOC).numpy()
    close(vae.transform(raw), x @ o.a.T + o.b, what="means")
    z = normal(6, 2, seed=3)
    close(vae.inverse_transform(z.numpy()), (z @ o.w.T + o.m) * SCALE + LOC, what="decoded")
    truth = MultivariateNormal(o.marginal.mean, o.marginal.covariance_matrix).log_prob(x) - SCALE.log().sum()
    close(vae.score_samples(raw), truth, what="log p(x)")
    close(vae.score(raw), truth.mean(), what="score")
    gaps = np.where(seen, raw, np.nan)
    close(vae.transform(gaps), torch.where(seen, x, 0) @ o.a.T + o.b, what="means of rows with gaps")


@check
def imputed_by_hand() -> None:
    """sum w E[x | z] / sum w with w = p(x_observed, z) / q(z | x), in the user's units; what is there stays."""
    o = linear(wrong=True)
    x, seen = some_rows()
    gaps = np.where(seen, (x * SCALE + LOC).numpy(), np.nan)
    eps = SharedNoise(stream(7, "impute")).normal((30, len(x), 2), f64(0.0))
    x = torch.where(seen, x, 0)
    log_px, log_pz, log_qz = o.by_hand(x, eps)
    weights = ((log_px * seen).sum(-1) + log_pz - log_qz).exp()
    z = x @ o.a.T + o.b + o.l.diagonal() * eps
    truth = (weights[..., None] * (z @ o.w.T + o.m)).sum(0) / weights.sum(0)[:, None] * SCALE + LOC
    for estimator in (around(o), around(o, ImputerVAE(samples=30))):
        filled = estimator.impute(gaps) if isinstance(estimator, VAE) else estimator.transform(gaps)
        assert (filled[seen] == gaps[seen]).all(), "an observed entry was altered"
        close(filled[~seen], truth[~seen], what="filled entries")
        some = [3, 0, 1, 9]
        again = estimator.impute(gaps[some]) if isinstance(estimator, VAE) else estimator.transform(gaps[some])
        close(again, filled[some], 1e-10, what="fewer rows in another order")


@check
def imputed_within_the_exact_conditional() -> None:
    """Against E[x_a | x_b] = m_a + C_ab C_bb^-1 (x_b - m_b), to five standard errors of weighted draws."""
    o = linear(wrong=True)
    # a q that is wider than what it stands for: the weights are bounded, and have a standard error
    o.l = 1.6 * torch.eye(2, dtype=torch.float64)
    o.model.posterior.network.map.bias.data[2:] = unbounded(o.l.diagonal().log())
    x, seen = some_rows(25)
    vae, draws = around(o, VAE(samples=4000, missing="model")), 4000
    gaps = np.where(seen, (x * SCALE + LOC).numpy(), np.nan)
    filled = (f64(vae.impute(gaps)) - LOC) / SCALE
    eps = SharedNoise(stream(7, "impute")).normal((draws, len(x), 2), f64(0.0))
    x0 = torch.where(seen, x, 0)
    log_px, log_pz, log_qz = o.by_hand(x0, eps)
    share = ((log_px * seen).sum(-1) + log_pz - log_qz).softmax(0)[..., None]
    each = (x0 @ o.a.T + o.b + o.l.diagonal() * eps) @ o.w.T + o.m
    error = (share * (each - (share * each).sum(0))).square().sum(0).sqrt()
    mean, cov = o.marginal.mean, o.marginal.covariance_matrix
    for row, there, found, se in zip(x, seen, filled, error):
        gain = cov[~there][:, there] @ torch.linalg.inv(cov[there][:, there])
        truth = mean[~there] + gain @ (row[there] - mean[there])
        far = (found[~there] - truth).abs() / se[~there]
        assert (far < 5).all(), f"{far.max():.1f} standard errors from the exact conditional mean"


@check
def outliers_by_their_share() -> None:
    """offset_ is a quantile of the training scores; as many rows lie below it as were asked for, the least likely."""
    x = normal(60, 3, seed=2)
    x[7] += 30
    found = OutlierVAE(2, contamination=0.1, max_iter=2, hidden=4, samples=5, random_state=0).fit(x.numpy())
    scores = found.score_samples(x.numpy())
    close(found.offset_, np.quantile(scores, 0.1), what="offset")
    close(found.decision_function(x.numpy()), scores - found.offset_, what="decision")
    picked = found.predict(x.numpy()) == -1
    assert picked.sum() == 6, f"{picked.sum()} of 60 rows are outliers at a contamination of 0.1"
    assert scores[picked].max() < scores[~picked].min(), "not the least likely rows"
    assert picked[7], "the row far from all others is no outlier"


@check
def estimators_leave_others_generators_alone() -> None:
    """random_state=None reads no global generator; a RandomState gives the next number; draws repeat by an int."""
    before = np.random.get_state()[1].copy()
    seeds = {seed_from(None) for _ in range(4)}
    assert len(seeds) == 4, "None gives the same seed again"
    assert (np.random.get_state()[1] == before).all(), "NumPy's generator was moved"
    state = np.random.RandomState(3)
    assert seed_from(state) != seed_from(state)
    assert seed_from(11) == 11
    o = linear()
    vae = around(o, VAE(random_state=5))
    close(vae.sample(4), vae.sample(4), what="draws of the same seed")
    assert not np.allclose(vae.sample(4, random_state=6), vae.sample(4)), "another seed gave the same draws"
    mean = (o.marginal.mean * SCALE + LOC).numpy()
    drawn = vae.sample(4000)
    error = np.sqrt(np.diag(o.marginal.covariance_matrix)) * SCALE.numpy() / math.sqrt(4000)
    assert (np.abs(drawn.mean(0) - mean) < 5 * error).all(), "draws in other units"


@check
def gaps_are_taken_where_that_was_asked() -> None:
    x = normal(30, 3, seed=2).numpy()
    x[3, 1] = np.nan
    kinds = ((VAE(), False), (VAE(missing="model"), True), (OutlierVAE(), False), (ImputerVAE(), True))
    for estimator, takes in kinds:
        estimator.set_params(max_iter=1, hidden=4)
        if takes:
            estimator.fit(x)
            continue
        refused = raises(ValueError, estimator.fit, x)
        assert "NaN" in refused, f"it does not say what is wrong: {refused}"
        raises(NotFittedError, estimator.score_samples, x)


def raises(kind: type[Exception], function: Callable[..., object], *arguments: object) -> str:
    """Return the message of an error that must come."""
    try:
        function(*arguments)
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


@check
def strangeness_by_hand() -> None:
    """Mean of squares about the median, in median deviations; of a column with one usual value, in its deviation."""
    x = np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [104.0, 9.0], [2.0, np.nan]])
    # column 0: median 2, absolute deviations 2 1 0 1 102 0, median 1; column 1: median deviation 0, deviation 1.6
    unit = np.array([1.4826, 1.6])
    truth = (((x - [2.0, 5.0]) / unit) ** 2)[:5].mean(1)
    close(strangeness(x)[:5], truth, 1e-12, what="strangeness")
    close(strangeness(x)[5:], np.zeros(1), 1e-12, what="of what was observed alone")
    # median 0, below it 0 1 2 3 4 lie 0 1 2 3 4: their median is 2
    scores = np.array([-4.0, -3.0, -2.0, -1.0, 0.0, 0.5, 0.6, 0.7, 0.8])
    assert math.isclose(lowest(scores), -3 * 1.4826 * 2.0), lowest(scores)


@check
def strange_rows_are_not_trained_on() -> None:
    """A tenth of the rows form a cluster of their own: trimmed away, and then far less likely than the others."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(130, 2)) @ rng.normal(size=(2, 6)) + 0.5 * rng.normal(size=(130, 6))
    rows[117:] = 0.3 * rng.normal(size=(13, 6)) + 4.0 * np.array([1, -1, 1, -1, 1, -1])
    how = {"max_iter": 25, "hidden": 16, "samples": 20, "random_state": 0}
    trimmed, plain = OutlierVAE(2, **how).fit(rows), OutlierVAE(2, trim=False, **how).fit(rows)
    assert plain.kept_.all()
    assert not trimmed.kept_[117:].any(), "outliers were trained on"
    assert trimmed.kept_[:117].mean() > 0.9, "the others were not"
    gaps = [e.score_samples(rows)[:117].mean() - e.score_samples(rows)[117:].mean() for e in (trimmed, plain)]
    assert gaps[0] > 2 * gaps[1] > 0, f"{gaps[0]:.1f} nats apart, untrimmed {gaps[1]:.1f}"
