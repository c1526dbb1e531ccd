"""Exact checks of what a report measures."""

from __future__ import annotations

import torch

from exact import check, close, f64, linear, normal
from vaelab.data import Dataset, Schema
from vaelab.report.measure import measure
from vaelab.report.places import levels, plane, prior_quantiles
from vaelab.report.tables import correlations, explained
from vaelab.run import Run


@check
def report_of_exact_rows() -> None:
    """Where q is the exact posterior a score is log p(x) in the user's units; rows are in its order."""
    o, x = linear(scale="entry"), normal(40, 5, seed=5)
    loc, scale = normal(5, seed=8), normal(5, seed=9).exp()
    schema = Schema(name="check", layout="array", shape=(5,), values="real", loc=loc, scale=scale)
    run = Run(o.model.float(), schema, splits={"validation": Dataset(x * scale + loc, schema)})
    seen = measure(run).seen
    assert seen is not None
    assert seen.judged.log_evidence is not None
    truth = o.marginal.log_prob(x) - scale.log().sum()
    close(f64(seen.scores), truth, 1e-4, what="score")
    assert seen.order.tolist() == truth.argsort().tolist(), "rows are not in the order of log p(x)"
    groups = list(seen.extremes().values())
    assert groups[0] == truth.argsort()[:10].tolist(), "the least likely rows come first, lowest first"
    assert groups[2] == truth.argsort(descending=True)[:10].tolist(), "the most likely rows come last, highest first"
    close(seen.judged.log_evidence.value, truth.mean(), 1e-4, what="log evidence")
    close(f64(seen.codes), o.posterior(x).mean, 1e-4, what="codes")


@check
def report_of_the_plane() -> None:
    """Its corner is E[x | z] at the quantiles 1/30 and 29/30 of p(z) = N(0.3, 1.4²): left and up."""
    o = linear(scale="entry")
    schema = Schema(name="check", layout="array", shape=(5,), values="real", loc=f64([2.0] * 5), scale=f64([3.0] * 5))
    edge = 1.8339146358159142  # of a standard normal at 29/30
    x = Run(o.model, schema).decode(plane(prior_quantiles(o.model, None, levels(15))))
    for where, z in ((0, [-edge, edge]), (14, [edge, edge]), (224, [edge, -edge])):
        truth = (o.w @ (o.loc + o.tau * f64(z)) + o.m) * 3 + 2
        close(x[where], truth, 1e-6, what=f"decode {where} of the plane")


@check
def report_of_columns() -> None:
    """R² = 1 - residual / variance over observed entries; correlations over the rows where both are."""
    x = normal(30, 3, seed=4) + torch.tensor([0.0, 1e5, 0.0])
    x[:, 1] += x[:, 0]
    seen = torch.rand(30, 3, generator=torch.Generator().manual_seed(1)) < 0.8
    found = correlations(torch.where(seen, x, torch.nan).numpy())
    for i in range(3):
        for j in range(3):
            both = seen[:, i] & seen[:, j]
            close(found[i, j], torch.corrcoef(x[both].T)[i, j], 1e-6, what="correlation")
    again = x + 0.1 * normal(30, 3, seed=6)
    for i, share in enumerate(explained(torch.where(seen, x, torch.nan).numpy(), again.numpy())):
        a, r = x[seen[:, i], i], again[seen[:, i], i]
        close(share, 1 - (a - r).square().mean() / a.var(correction=0), 1e-6, what="R²")
