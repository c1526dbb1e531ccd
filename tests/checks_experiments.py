"""Exact checks of what the experiments measure with: quadrature, neighbours, slopes, the linear process."""

from __future__ import annotations

import math

import pytest
import torch

from exact import check, close, f64, generator, normal
from vaelab.errors import UsageError
from vaelab.evaluation import Estimate
from vaelab.evaluation.quadrature import log_evidence
from vaelab.evaluation.rules import hermite, legendre, trapezoid
from vaelab.experiments import lab
from vaelab.experiments.linear import Process, exact_noise
from vaelab.experiments.nearest import coverage, density, distances
from vaelab.networks import PerRow
from vaelab.posteriors import Gaussian


@check
def rules_integrate_a_gaussian() -> None:
    """Each rule gives E z² = 0.5 for N(0, 0.5), in one dimension and two; Hermite is for N(0, 1) itself."""
    for dims in (1, 2):
        for z, log_w in (trapezoid(7.0, 101, dims), legendre(-7.0, 7.0, 10, 10, dims)):
            weight = (log_w - z.square().sum(1) - 0.5 * dims * math.log(math.pi)).exp()
            close(weight.sum(), 1.0, 1e-12, "mass")
            close((weight.unsqueeze(1) * z.square()).sum(0), torch.full((dims,), 0.5), 1e-12, "variance")
        z, log_w = hermite(20, dims)
        close((log_w.exp().unsqueeze(1) * z**4).sum(0), torch.full((dims,), 3.0), 1e-9, "fourth moment")


@check
def the_linear_process_by_hand() -> None:
    """log p(x) by quadrature is the closed form; p(z | x) is what Bayes' rule gives; quadratics at exact nodes."""
    process = Process.random(5, 2, generator(1), s=0.6)
    x = process.rows(4, generator(2))
    close(log_evidence(process.model(per_row=4), x, trapezoid(7.0, 201, 2)), process.log_evidence(x), 1e-10, "log p(x)")
    precision = torch.eye(2).double() + process.w.T @ process.w / 0.36
    mean, deviation = process.posterior(x)
    close(mean, (x - process.m) @ process.w / 0.36 @ precision.inverse(), what="mean")
    close(torch.diag(deviation[0] ** 2), precision.inverse(), what="covariance")
    noise = exact_noise(3, 4)
    close(torch.einsum("kni,knj->nij", noise, noise) / len(noise), torch.eye(4).expand(3, 4, 4), what="second moments")


@check
def neighbours_on_a_line() -> None:
    """Rows 0..9, whose fifth nearest other rows are 5, 4, 3, ... 3, 4, 5 away."""
    real = torch.arange(10.0).unsqueeze(1).double()
    # the first within reach of row 0 alone, the second of rows 0, 1, 2 and 3
    made = f64([-4, 0, 100, 101, 102, 103, 104]).unsqueeze(1)
    close(coverage(real, made), 0.4, what="coverage")
    close(density(real, made), (1 + 4) / 7 / 5, what="density")
    close(distances(made, real)[:3], f64([4.0, 0.0, 91.0]), what="distances")


@check
def figures_with_errors_by_hand() -> None:
    """Ratio and slope with their standard errors, the variance of draws, the score of a mean."""
    found = lab.ratio(Estimate(6.0, 0.6), Estimate(2.0, 0.1))
    close(f64([found.value, found.se]), f64([3.0, 3 * math.hypot(0.1, 0.05)]), what="ratio")
    fall = lab.slope([1, 10, 100], [Estimate(8.0, 0.08), Estimate(0.8, 0.008), Estimate(0.08, 0.0008)])
    at = math.log(10)
    close(f64([fall.value, fall.se]), f64([-1.0, 0.01 / at / math.sqrt(2)]), what="slope")
    draws = normal(7, 3)
    close(lab.variance(draws).value, draws.var(0).sum(), what="variance")
    z = (draws.mean(0) - 0.3) / (draws.std(0) / math.sqrt(7))
    close(lab.scores(draws, 0.3), z, what="score")


@check
def what_belongs_to_rows_follows_their_order() -> None:
    """PerRow gives row n its own numbers, whatever x is; another number of rows is refused."""
    table = PerRow(3, 4).double()
    table.values.data = normal(3, 4, seed=3)
    q = Gaussian(table, 2)(normal(3, 9))
    close(q.mean, table.values[:, :2], what="means")
    with pytest.raises(UsageError, match="made for 3 rows in their order, got 2"):
        table(normal(2, 9))
    with pytest.raises(UsageError, match="rows and outputs must be at least 1, got 0 and 4"):
        PerRow(0, 4)
