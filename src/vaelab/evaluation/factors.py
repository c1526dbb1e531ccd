"""Whether each latent dimension speaks of one known factor, and each factor through one dimension."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError

LEVELS = 20  # of a quantity, equally frequent, where its levels are needed
TREES = 50
VOTES, TOGETHER = 800, 64  # of the FactorVAE score: votes, rows behind each

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Disentanglement:
    """Scores between 0 (entangled) and 1 of codes against known factors.

    mig              mutual information gap (Chen et al. 2018, eq. 6)
    sap              separated attribute predictability (Kumar et al. 2018, section 3), above chance
    disentanglement, completeness, informativeness (Eastwood & Williams 2018, section 2); the first is None for one
                     factor, the last is the share of classes told right, or R² of quantities, on other rows
    factor_vae       share of votes that the least varying dimension gives to the factor held fixed (Kim & Mnih 2018,
                     section 3); by chance one over the number of factors
    """

    mig: float
    sap: float
    disentanglement: float | None
    completeness: float
    informativeness: float
    factor_vae: float

    def json(self) -> dict[str, float | None]:
        """Return the scores by name."""
        return asdict(self)


def disentanglement(codes: ArrayLike, factors: Mapping[str, ArrayLike], *, seed: int = 0) -> Disentanglement:
    """Return all scores of codes (N, D), D >= 2, against factors: name -> (N,), words and integers classes, else real.

    Let the codes be draws z ~ q(z | x): a mean without its width seems to carry what no decoder could read from z.
    Raises UsageError for sizes that do not fit, NaN, or a factor that never varies.
    """
    z, known = _checked(codes, factors)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(z))
    z, known = z[order], {name: v[order] for name, v in known.items()}
    levels = {name: _levels(v) for name, v in known.items()}
    importance, right = _importance(z, known, seed)
    return Disentanglement(
        mig=gap(np.stack([information(z, v, seed) for v in levels.values()], 1)),
        sap=gap(np.stack([_predictability(z, v) for v in known.values()], 1)),
        disentanglement=disentangled(importance) if len(known) > 1 else None,
        completeness=complete(importance),
        informativeness=right,
        factor_vae=votes(z, list(levels.values()), rng),
    )


def _checked(codes: ArrayLike, factors: Mapping[str, ArrayLike]) -> tuple[Array, dict[str, NDArray[Any]]]:
    z = np.asarray(codes, dtype=np.float64)
    if z.ndim != 2 or z.shape[1] < 2:
        raise UsageError(f"disentanglement: codes have shape {z.shape}, expected (rows, 2 dimensions or more).")
    known = {name: np.asarray(v) for name, v in factors.items()}
    if not known:
        raise UsageError("disentanglement: no factor was given.")
    for name, v in known.items():
        if v.shape != z.shape[:1]:
            raise UsageError(f"disentanglement: factor {name} has shape {v.shape}, the codes have {len(z):,} rows.")
        if v.dtype.kind == "f" and np.isnan(v).any():
            raise UsageError(f"disentanglement: factor {name} has NaN. Leave those rows out.")
        if np.unique(v, return_counts=True)[1].min() < 2 and v.dtype.kind != "f":
            raise UsageError(f"disentanglement: a class of factor {name} has one row only. Leave it out.")
        if len(np.unique(v)) < 2:
            raise UsageError(f"disentanglement: factor {name} never varies. Leave it out.")
    if not np.isfinite(z).all():
        raise UsageError("disentanglement: the codes have values that are not finite.")
    return z, known


def _levels(v: NDArray[Any]) -> NDArray[np.int64]:
    """Return classes 0, 1, ...; of a quantity, 20 that are equally frequent."""
    values, index = np.unique(v, return_inverse=True)
    if v.dtype.kind != "f" or len(values) <= LEVELS:
        return index
    return np.unique(np.searchsorted(np.quantile(v, np.arange(1, LEVELS) / LEVELS), v), return_inverse=True)[1]


def gap(score: Array) -> float:
    """Return the mean over factors of the best dimension's score less the second best's; score (D, F)."""
    second, first = np.sort(score, 0)[-2:]
    return float((first - second).mean())


def information(z: Array, level: NDArray[np.int64], seed: int) -> Array:
    """I(z_j; v) / H(v) for each dimension, (D,), by nearest neighbours (Ross 2014): no bins of z.

    H(v) is psi(N) - E psi(N_v), what that estimate gives for dimensions that tell every class.
    """
    from scipy.special import digamma
    from sklearn.feature_selection import mutual_info_classif

    count = np.bincount(level)
    entropy = digamma(len(level)) - (count / len(level)) @ digamma(count)
    return mutual_info_classif(z, level, discrete_features=False, random_state=seed) / entropy


def _predictability(z: Array, v: NDArray[Any]) -> Array:
    """R² of a line in z_j for a quantity, the balanced accuracy above chance of thresholds on z_j for classes, (D,)."""
    if v.dtype.kind == "f":
        return np.corrcoef(z.T, v)[-1, :-1] ** 2
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import train_test_split
    from sklearn.tree import DecisionTreeClassifier

    z_fit, z_judge, v_fit, v_judge = train_test_split(z, v, test_size=0.5, stratify=v, random_state=0)
    score = []
    for fit, judge in zip(z_fit.T, z_judge.T):
        thresholds = DecisionTreeClassifier(
            max_leaf_nodes=2 * len(np.unique(v)), class_weight="balanced", random_state=0
        ).fit(fit[:, None], v_fit)
        said = thresholds.predict(judge[:, None])
        score.append(max(0.0, balanced_accuracy_score(v_judge, said, adjusted=True)))
    return np.array(score)


def _importance(z: Array, known: Mapping[str, NDArray[Any]], seed: int) -> tuple[Array, float]:
    """Return R (D, F), each dimension's share in a random forest for a factor, and how right they are elsewhere."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    half, columns, right = len(z) // 2, [], []
    for v in known.values():
        family = RandomForestRegressor if v.dtype.kind == "f" else RandomForestClassifier
        forest = family(TREES, max_features=None, random_state=seed).fit(z[:half], v[:half])
        columns.append(forest.feature_importances_)
        right.append(max(0.0, forest.score(z[half:], v[half:])))
    return np.stack(columns, 1), float(np.mean(right))


def disentangled(importance: Array) -> float:
    """sum_i rho_i (1 - H_F(P_i)), P_ij = R_ij / sum_k R_ik, rho_i the share of R in dimension i, R (D, F)."""
    total = importance.sum(1)
    used = total > 0
    share = importance[used] / total[used, None]
    return float(total[used] / total.sum() @ (1 - _entropy(share, importance.shape[1])))


def complete(importance: Array) -> float:
    """E_j (1 - H_D(P_j)), P_ij = R_ij / sum_k R_kj: whether each factor is in one dimension, R (D, F)."""
    total = importance.sum(0)
    share = (importance[:, total > 0] / total[total > 0]).T
    return float((1 - _entropy(share, len(importance))).sum() / len(total))


def _entropy(share: Array, base: int) -> Array:
    """Return the entropy of each row, 1 for an even one over `base` places."""
    return -(share * np.log(np.where(share > 0, share, 1))).sum(1) / np.log(base)


def votes(z: Array, levels: list[NDArray[np.int64]], rng: np.random.Generator) -> float:
    """Return the accuracy of a majority vote from the least varying dimension to the factor that was held fixed."""
    spread = z.var(0)
    alive = spread > 0  # a collapsed dimension of draws has its prior's variance, whatever the factor: it never wins
    groups = [[np.flatnonzero(v == level) for level in np.unique(v)] for v in levels]
    ballots = np.zeros((2, z.shape[1], len(levels)))
    for vote in range(VOTES):
        factor = int(rng.integers(len(levels)))
        group = groups[factor][int(rng.integers(len(groups[factor])))]
        rows = rng.choice(group, min(TOGETHER, len(group)), replace=False)
        ratio = np.where(alive, z[rows].var(0) / np.where(alive, spread, 1), np.inf)
        ballots[vote % 2, int(ratio.argmin()), factor] += 1
    fit, judge = ballots
    return float(judge[np.arange(z.shape[1]), fit.argmax(1)].sum() / judge.sum())
