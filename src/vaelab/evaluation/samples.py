"""Two sets of rows against each other: do generated rows look like real ones, and are all kinds of real ones there?"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from ..noise import stream
from ..shapes import Float
from .evaluate import Estimate

COMPONENTS = 64  # numbers that stand for a row: a row of no more entries stands for itself
NEIGHBOURS = 5  # of Naeem et al. 2020
PERMUTATIONS = 200
FEWEST = 20  # rows on either side
FOLDS = 3


class Features:
    """phi(x) = (the leading principal components of x, the length of what they leave out), fitted to real rows.

    No two rows are further apart in phi than they are in x, and for at most 64 entries phi(x) is x itself. It knows
    nothing of the model that is judged, as an encoder would. x (N, *X) -> (N, F) float64.
    """

    def __init__(self, x: Tensor) -> None:
        flat = x.double().flatten(1)
        self.rows, self.entries = flat.shape
        self.mean = flat.mean(0)
        self.axes: Tensor | None = None
        if self.entries > COMPONENTS:
            self.axes = torch.linalg.svd(flat - self.mean, full_matrices=False).Vh[:COMPONENTS]

    def __call__(self, x: Tensor) -> Float[Tensor, "N F"]:
        """Return the features of rows."""
        flat = x.double().flatten(1)
        if self.axes is None:
            return flat
        centred = flat - self.mean
        components = centred @ self.axes.T
        rest = (centred - components @ self.axes).norm(dim=1, keepdim=True)
        return torch.cat([components, rest], 1)

    def __str__(self) -> str:
        if self.axes is None:
            return f"all {self.entries} entries of a row"
        return f"{len(self.axes)} principal components of {self.rows:,} real rows, and the length of the rest"


@dataclass(frozen=True)
class Discrepancy:
    """MMD² without bias, its standard error, and the share of random relabellings that reach it."""

    value: float
    se: float
    p: float


@dataclass(frozen=True)
class SampleMeasures:
    """What tells rows from real ones. Errors are over the rows that are counted, given the others.

    precision  share of rows within reach of a real one; density counts how many, 1 for equal distributions
    recall     share of real rows within reach of one; coverage: with a row within their own reach
    frechet    distance² of the Gaussians with the two sets' moments; grows by chance alone as rows are fewer
    mmd        maximum mean discrepancy²; 0 on average for equal distributions
    two_sample share that a classifier tells right, on rows it did not see; 0.5 for equal distributions
    """

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate
    frechet: float
    mmd: Discrepancy
    two_sample: Estimate

    def json(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


def compare_samples(
    real: Float[Tensor, "M F"], rows: Float[Tensor, "N F"], bandwidth: float, *, seed: int = 0
) -> SampleMeasures:
    """Return all measures of `rows` against `real`, both as features. Raises UsageError for fewer than 20 rows."""
    if min(len(real), len(rows)) < FEWEST:
        raise UsageError(
            f"measure: {len(rows):,} rows against {len(real):,} are too few (need {FEWEST} each). Give more."
        )
    precision, recall, density, coverage = neighbourhoods(real, rows)
    return SampleMeasures(
        precision,
        recall,
        density,
        coverage,
        frechet(real, rows),
        mmd(real, rows, bandwidth, seed=seed),
        two_sample(real, rows, seed=seed),
    )


def distances(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_j|, (A, B); exactly 0 for equal rows."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def median_distance(x: Tensor) -> float:
    """Return the median of |x_i - x_j|, i < j: the bandwidth of the kernel (Gretton et al. 2012, section 8)."""
    apart = torch.pdist(x)
    middle = apart.median().item()
    return middle if middle > 0 else max(apart.mean().item(), 1e-12)  # more than half of the rows are equal


def neighbourhoods(
    real: Tensor, rows: Tensor, neighbours: int = NEIGHBOURS
) -> tuple[Estimate, Estimate, Estimate, Estimate]:
    """Return precision, recall (Kynkaanniemi et al. 2019, eq. 1-3), density, coverage (Naeem et al. 2020, eq. 3, 5).

    A row's ball reaches to its k-th nearest neighbour in its own set. For equal continuous distributions the mean of
    the density is 1, that of the coverage 1 - (M-1)...(M-k) / (M+N-1)...(M+N-k), M real rows, N others.
    """
    between = distances(real, rows)
    inside = between <= _reach(real, neighbours).unsqueeze(1)
    return (
        Estimate.of(inside.any(0).double()),
        Estimate.of((between <= _reach(rows, neighbours)).any(1).double()),
        Estimate.of(inside.double().sum(0) / neighbours),
        Estimate.of(inside.any(1).double()),
    )


def _reach(x: Tensor, neighbours: int) -> Tensor:
    """Return the distance of each row to its k-th neighbour, which it is not itself."""
    return distances(x, x).fill_diagonal_(math.inf).kthvalue(neighbours).values


def frechet(a: Tensor, b: Tensor) -> float:
    """|m_a - m_b|² + tr(S_a + S_b - 2 (S_a S_b)^½): the Fréchet distance² of two Gaussians (Dowson & Landau 1982)."""
    S_a, S_b = (x.T.cov().reshape(x.shape[1], -1) for x in (a, b))
    values, vectors = torch.linalg.eigh(S_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ S_b @ root).clamp(min=0).sqrt().sum()  # the same eigenvalues, and symmetric
    return ((a.mean(0) - b.mean(0)).square().sum() + S_a.trace() + S_b.trace() - 2 * cross).item()


def mmd(a: Tensor, b: Tensor, bandwidth: float, *, permutations: int = PERMUTATIONS, seed: int = 0) -> Discrepancy:
    """E k(a, a') + E k(b, b') - 2 E k(a, b), k = exp(-|x - y|² / 2h²), without bias (Gretton et al. 2012, eq. 3).

    The error is that of the first-order term, so it is too small where the distributions are all but equal; there p
    holds: the share of random relabellings, this one included, whose value is not smaller.
    """
    both, n, m = torch.cat([a, b]), len(a), len(b)
    kernel = torch.exp(-0.5 * (distances(both, both) / bandwidth).square()).fill_diagonal_(0)
    generator = stream(seed, "permutations")
    first = torch.zeros(n + m, permutations + 1, dtype=torch.float64)  # 1 where a row is of the first set
    first[:n, 0] = 1
    for column in range(1, permutations + 1):
        first[torch.randperm(n + m, generator=generator)[:n], column] = 1
    to_first, to_all = kernel @ first, kernel.sum(1)
    within_a = (first * to_first).sum(0)
    between = first.T @ to_all - within_a
    within_b = to_all.sum() - within_a - 2 * between
    values = within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * between / (n * m)
    to_a = to_first[:, 0]
    to_b = to_all - to_a
    witness_a, witness_b = to_a[:n] / (n - 1) - to_b[:n] / m, to_b[n:] / (m - 1) - to_a[n:] / n
    error = math.sqrt(4 * witness_a.var().item() / n + 4 * witness_b.var().item() / m)
    return Discrepancy(values[0].item(), error, (values >= values[0] - 1e-12).double().mean().item())


def two_sample(a: Tensor, b: Tensor, *, seed: int = 0) -> Estimate:
    """Return the accuracy of a classifier that tells two sets apart (Lopez-Paz & Oquab 2017): 0.5 for equal ones.

    Boosted trees, each row judged by those that were grown on other rows, as many of one set as of the other.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold

    n = min(len(a), len(b))
    generator = stream(seed, "two samples")
    x = torch.cat([some[torch.randperm(len(some), generator=generator)[:n]] for some in (a, b)]).numpy()
    y = np.repeat([0, 1], n)
    right = np.empty(2 * n)
    for fit, judge in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, y):
        trees = HistGradientBoostingClassifier(max_iter=60, early_stopping=False, random_state=seed).fit(x[fit], y[fit])
        right[judge] = trees.predict(x[judge]) == y[judge]
    return Estimate.of(torch.from_numpy(right))


def nearer_share(rows: Tensor, train: Tensor, held: Tensor) -> Estimate:
    """Return the share of rows nearer to a training row than to any of as many others, ties counted by half.

    0.5 for rows that come from the data's own distribution, 1 for copies of training rows.
    """
    to_train, to_held = (distances(rows, some).min(1).values for some in (train, held))
    return Estimate.of((to_train < to_held).double() + 0.5 * (to_train == to_held))
