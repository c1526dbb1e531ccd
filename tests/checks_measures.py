"""Exact checks of the measures of samples and of codes."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from exact import check, close, f64, generator, normal
from vaelab.evaluation.factors import complete, disentangled, disentanglement, gap, information, votes
from vaelab.evaluation.samples import Features, frechet, mmd, nearer_share, neighbourhoods, two_sample


def nearest(x: Tensor, k: int) -> list[float]:
    return [sorted((a - b).norm().item() for j, b in enumerate(x) if j != i)[k - 1] for i, a in enumerate(x)]


@check
def neighbourhoods_by_hand() -> None:
    """Every share by loops over pairs, sets of different sizes and widths."""
    real, rows, k = normal(23, 2, seed=1), 0.6 * normal(17, 2, seed=2) + 0.3, 3
    reach_real, reach_rows = nearest(real, k), nearest(rows, k)
    pairs = [[(a - b).norm().item() for b in rows] for a in real]
    count = [sum(pairs[i][j] <= reach_real[i] for i in range(23)) for j in range(17)]
    truths = (
        sum(c > 0 for c in count) / 17,
        sum(any(pairs[i][j] <= reach_rows[j] for j in range(17)) for i in range(23)) / 23,
        sum(count) / (3 * 17),
        sum(min(pairs[i]) <= reach_real[i] for i in range(23)) / 23,
    )
    assert len({round(t, 6) for t in truths}) == 4, "the case does not tell the measures apart"
    for name, found, truth in zip(
        ("precision", "recall", "density", "coverage"), neighbourhoods(real, rows, k), truths, strict=True
    ):
        close(found.value, truth, what=name)
    spread = f64([c / 3 for c in count]).std().item() / math.sqrt(17)
    close(neighbourhoods(real, rows, k)[2].se, spread, what="error of the density")


@check
def equal_distributions_have_density_one() -> None:
    """Mean density 1 and mean coverage 1 - (M-1)...(M-k) / (M+N-1)...(M+N-k), whatever the distribution."""
    M, N, k, repeats = 23, 31, 4, 300
    x = normal(repeats, M + N, 2, seed=3).exp()
    found = [neighbourhoods(some[:M], some[M:], k) for some in x]
    coverage = 1 - math.prod((M - i) / (M + N - i) for i in range(1, k + 1))
    for name, at, truth in (("density", 2, 1.0), ("coverage", 3, coverage)):
        values = f64([one[at].value for one in found])
        error = values.std().item() / math.sqrt(repeats)
        assert abs(values.mean().item() - truth) < 5 * error < 0.05, f"{name} {values.mean():.3f}, expected {truth:.3f}"


@check
def a_dropped_mode_costs_its_share_of_recall() -> None:
    """Four modes far apart, one dropped: recall and coverage are those of the other three, times their share."""
    modes = f64([[0, 0], [100, 0], [0, 100], [100, 100]])
    real = (modes[:, None] + normal(4, 19, 2, seed=4)).flatten(0, 1)
    rows = (modes[:3, None] + normal(3, 29, 2, seed=5)).flatten(0, 1)
    of_all, of_kept = neighbourhoods(real, rows), neighbourhoods(real[: 3 * 19], rows)
    for at, name in ((1, "recall"), (3, "coverage")):
        close(of_all[at].value, 0.75 * of_kept[at].value, what=name)
        assert of_kept[at].value > 0.9
    close(of_all[0].value, of_kept[0].value, what="precision")
    apart = neighbourhoods(real, real + 1000)
    assert [one.value for one in apart] == [0, 0, 0, 0], "sets that are far apart"
    same = neighbourhoods(real, real)
    assert [one.value for one in same[:2]] == [1, 1], "a set and itself"
    equal = neighbourhoods(torch.ones(23, 2).double(), torch.ones(9, 2).double())  # discrete rows, every ball a point
    assert [one.value for one in (equal[0], equal[1], equal[3])] == [1, 1, 1], "rows of one value"


def with_moments(mean: Tensor, cov: Tensor, rows: int, seed: int) -> Tensor:
    """Rows whose mean and covariance (divisor N - 1) are exactly these."""
    e = normal(rows, len(mean), seed=seed)
    e = e - e.mean(0)
    e = e @ torch.linalg.inv(torch.linalg.cholesky(e.T.cov())).T
    return mean + e @ torch.linalg.cholesky(cov).T


@check
def frechet_of_gaussians() -> None:
    """|m_a - m_b|² + tr S_a + tr S_b - 2 tr (S_a S_b)^½, the last by the eigenvalues of the product."""
    r, s = normal(3, 3, seed=6), normal(3, 3, seed=7)
    S_a, S_b = r @ r.T + 0.1 * torch.eye(3), s @ s.T + 0.2 * torch.eye(3)
    m_a, m_b = f64([1.0, -2, 0.5]), f64([0.0, 1, 2])
    root = torch.linalg.eigvals(S_a @ S_b).real.sqrt().sum()
    truth = (m_a - m_b).square().sum() + S_a.trace() + S_b.trace() - 2 * root
    a, b = with_moments(m_a, S_a, 41, 8), with_moments(m_b, S_b, 53, 9)
    close(frechet(a, b), truth, 1e-9, what="Frechet distance")
    close(frechet(b, a), truth, 1e-9, what="the other way round")
    close(frechet(a, a), 0.0, 1e-9, what="of a set and itself")
    x, y = f64([[0.0], [2.0], [4.0]]), f64([[1.0], [2.0]])  # deviations 2 and sqrt(1/2)
    close(frechet(x, y), 0.25 + (2 - math.sqrt(0.5)) ** 2, what="in one dimension")


@check
def discrepancy_by_hand() -> None:
    """MMD² without bias by loops; p against the relabellings of five rows, all of which are met."""
    a, b, h = normal(7, 2, seed=10), normal(5, 2, seed=11) + 0.7, 0.9

    def k(x: Tensor, y: Tensor) -> float:
        return math.exp(-(x - y).square().sum().item() / (2 * h * h))

    def value(a: Tensor, b: Tensor) -> float:
        n, m = len(a), len(b)
        aa = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        bb = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
        return aa + bb - 2 * sum(k(x, y) for x in a for y in b) / (n * m)

    close(mmd(a, b, h).value, value(a, b), 1e-12, what="MMD²")
    both = torch.cat([a[:3], b[:2]])
    from itertools import combinations

    every = [
        value(both[list(some)], both[[i for i in range(5) if i not in some]]) for some in combinations(range(5), 3)
    ]
    truth = sum(v >= every[0] - 1e-12 for v in every) / len(every)
    found = mmd(both[:3], both[3:], h, permutations=4000).p
    assert abs(found - truth) < 5 * math.sqrt(truth * (1 - truth) / 4000) + 1e-3, f"p {found}, of all {truth}"


@check
def discrepancy_of_gaussians() -> None:
    """The mean over repeats is the closed form, and the stated error is the spread of the repeats."""
    n, m, dims, h, shift, s = 40, 30, 2, 1.3, 1.1, 0.7
    draws = generator(12)
    a = torch.randn(200, n, dims, generator=draws, dtype=torch.float64)
    b = shift + s * torch.randn(200, m, dims, generator=draws, dtype=torch.float64)

    def mean_kernel(variance: float, apart: float) -> float:
        wide = h * h + variance
        return (h * h / wide) ** (dims / 2) * math.exp(-dims * apart**2 / (2 * wide))

    truth = mean_kernel(2, 0) + mean_kernel(2 * s * s, 0) - 2 * mean_kernel(1 + s * s, shift)
    found = [mmd(x, y, h, permutations=1) for x, y in zip(a, b, strict=True)]
    values, errors = f64([f.value for f in found]), f64([f.se for f in found])
    error = values.std().item() / math.sqrt(200)
    assert abs(values.mean().item() - truth) < 5 * error < 0.05, f"MMD² {values.mean():.4f}, closed form {truth:.4f}"
    ratio = errors.mean().item() / values.std().item()
    assert 0.8 < ratio < 1.25, f"the stated error is {ratio:.2f} of the spread"  # that spread is known to 5 %


@check
def rows_are_nearer_to_what_they_copy() -> None:
    """1 for copies, 0.5 for fresh rows, ties by half."""
    train, held = normal(61, 2, seed=13), normal(61, 2, seed=14)
    assert nearer_share(train + 1e-9, train, held).value == 1
    assert nearer_share(held, train, held).value == 0
    assert nearer_share(train, train, train).value == 0.5
    x = normal(400, 11, 2, seed=15)
    fresh = f64([nearer_share(some[:1], some[1:6], some[6:]).value for some in x])
    assert abs(fresh.mean().item() - 0.5) < 5 * fresh.std().item() / 20, f"fresh rows: {fresh.mean():.3f}"


@check
def features_never_lengthen_a_distance() -> None:
    """Principal components keep what lies in their span; the length of the rest keeps noise outside it in sight."""
    assert torch.equal(Features(normal(30, 2, 3))(normal(5, 2, 3)), normal(5, 2, 3).flatten(1))
    base = normal(90, 7, seed=16) @ normal(7, 100, seed=17) * 3 + 1
    features = Features(base)
    inside = features(base)
    close((inside[:9, None] - inside[:9]).norm(dim=-1), (base[:9, None] - base[:9]).norm(dim=-1), 1e-9, "distance")
    noisy = base + normal(90, 100, seed=18)
    wide, narrow = (noisy[:, None] - base).norm(dim=-1), (features(noisy)[:, None] - inside).norm(dim=-1)
    assert bool((narrow <= wide + 1e-9).all()), "features lengthen a distance"
    centred = noisy - base.mean(0)
    close(features(noisy).norm(dim=1), centred.norm(dim=1), 1e-9, what="length of the centred row")


@check
def a_classifier_tells_what_can_be_told() -> None:
    """0.5 for equal distributions; for N(0, 1) and N(1.5, 1) Phi(0.75) at most."""
    a, b = normal(600, 1, seed=19), normal(600, 1, seed=20)
    equal, shifted = two_sample(a, b), two_sample(a, b + 1.5)
    assert abs(equal.value - 0.5) < 5 * equal.se < 0.1, f"equal distributions are told apart: {equal}"
    bayes = 0.5 * (1 + math.erf(0.75 / math.sqrt(2)))
    assert bayes - 0.06 < shifted.value < bayes + 5 * shifted.se, f"accuracy {shifted}, Bayes {bayes:.3f}"
    close(shifted.se, math.sqrt(shifted.value * (1 - shifted.value) / 1199), 1e-9, what="error of the accuracy")


N = 900  # rows with known factors


def uniform(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


def classes(*shape: int, levels: int = 5, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(levels, size=shape)


def factors(v: np.ndarray) -> dict[str, np.ndarray]:
    return {f"v{k}": column for k, column in enumerate(v.T)}


@check
def codes_that_copy_factors() -> None:
    """Each factor in one dimension of its own: every score is 1, whatever scale, sign and order; noise beside it."""
    v = classes(N, 3, seed=0)
    noise = uniform(N, 2, seed=1)
    z = np.column_stack([noise[:, 0], -3 * v[:, 2], 0.1 * v[:, 0] + 0.01 * noise[:, 1], np.exp(v[:, 1])])
    for name, value in disentanglement(z, factors(v)).json().items():
        # what noise and 900 rows give the second best dimension is the gap's loss
        close(value, 1.0, 0.04 if name in ("sap", "mig") else 1e-9, what=name)
    for name, value in disentanglement(noise, factors(noise)).json().items():
        close(value, 1.0, 0.04, what=f"{name} of quantities")


@check
def codes_that_know_nothing() -> None:
    """Independent codes: 0, and one factor in three by chance; equally turned ones tell all and separate nothing."""
    v, noise = classes(N, 3, seed=2), uniform(N, 2, seed=3)
    found = disentanglement(uniform(N, 4, seed=4), factors(v))
    assert max(found.mig, found.sap, found.disentanglement, found.completeness) < 0.03, found
    assert abs(found.informativeness - 0.2) < 5 * math.sqrt(0.16 / (3 * N / 2)), found
    assert found.factor_vae < 1 / 3 + 5 * math.sqrt(2 / 9 / 400), found
    turned = disentanglement((noise - 0.5) @ np.array([[1, 1], [1, -1]]), factors(noise))
    assert max(turned.mig, turned.sap, turned.disentanglement, turned.completeness) < 0.05, turned
    assert turned.informativeness > 0.99, turned


@check
def a_factor_in_two_dimensions() -> None:
    """Copies of each code: no gap, still one factor for each dimension, half of the completeness that there can be."""
    v = classes(N, 3, seed=5)
    found = disentanglement(np.column_stack([v, v]), factors(v))
    close(found.mig, 0.0, 1e-3, what="gap")  # ties are broken by noise of 1e-10
    close(found.sap, 0.0, 1e-9, what="SAP")
    close(found.disentanglement, 1.0, 1e-9, what="disentanglement")
    close(found.completeness, 1 - math.log(2) / math.log(6), 0.05, what="completeness")
    both = disentanglement(np.column_stack([5 * v[:, 0] + v[:, 1], uniform(N, 1, seed=6)]), factors(v[:, :2]))
    assert both.disentanglement < 0.05 < 0.95 < both.completeness, f"two factors in one dimension: {both}"


@check
def gaps_of_known_size() -> None:
    """v in {0, 1}, z = v + U(0, w): I / H = 1 / w. A quantity with noise of variance s²: R² = 1 / (1 + s²)."""
    gaps = []
    for seed in range(12):
        v, u = classes(300, levels=2, seed=seed), uniform(300, 2, seed=100 + seed)
        z = np.column_stack([v + 1.6 * u[:, 0], v + 4 * u[:, 1]])
        gaps.append(gap(information(z, v, seed)[:, None]))
    error = float(np.std(gaps, ddof=1)) / math.sqrt(12)
    assert abs(np.mean(gaps) - (1 / 1.6 - 1 / 4)) < 5 * error < 0.1, f"gap {np.mean(gaps):.3f}, expected 0.375"
    x = with_moments(f64([0.0, 0, 0]), torch.eye(3).double(), 400, 20).numpy()
    z = np.column_stack([x[:, 0] + 0.5 * x[:, 1], x[:, 0] + 2 * x[:, 2]])
    close(disentanglement(z, {"v": x[:, 0]}).sap, 1 / 1.25 - 1 / 5, 1e-9, what="SAP of a quantity")
    assert disentanglement(z, {"v": x[:, 0]}).disentanglement is None


@check
def importances_by_hand() -> None:
    """Two thirds of R in a dimension that is split evenly, the rest in one that is not; an unused one beside them."""
    R = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    close(disentangled(R), 1 / 3, 1e-12, what="disentanglement")
    close(complete(R), (1 + 1 - math.log(2) / math.log(3)) / 2, 1e-12, what="completeness")
    close(disentangled(np.eye(3)), 1.0, 1e-12, what="disentanglement")
    close(complete(np.ones((4, 3))), 0.0, 1e-12, what="completeness")


@check
def votes_do_not_depend_on_scale() -> None:
    """The dimension that varies least, as a share of its own variance, is that of the factor held fixed."""
    v, rng = classes(N, 3, seed=7), np.random.default_rng(0)
    z = (v + 0.3 * uniform(N, 3, seed=8)) * [0.1, 3, 1]
    close(votes(z, list(v.T), rng), 1.0, what="FactorVAE score")
    close(votes(np.column_stack([z, np.zeros(N)]), list(v.T), rng), 1.0, what="beside a dimension that never varies")
