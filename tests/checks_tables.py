"""Exact checks of mixed tables: maps and their Jacobians, laws of columns, gaps filled, nats per column."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from exact import Linear_, check, close, f64, generator, linear, normal, real_data
from exact import _posterior as gaussian
from vaelab import likelihoods, networks, posteriors, priors
from vaelab.data import Count, Dataset, Grid, Levels, Number, Schema, open_source
from vaelab.data.fields import SPIKE, vote
from vaelab.data.filling import cells_of, filled_text
from vaelab.data.given import row_of
from vaelab.data.reading import Reading
from vaelab.data.transforms import MAPS, spline_of
from vaelab.evaluation import per_column
from vaelab.models import VAE
from vaelab.noise import Given
from vaelab.training import Rows
from vaelab.use import generate_given, impute, score
from vaelab.use.impute import quantile

NUMBERS = {
    "identity": f64([]),
    "log": f64([]),
    "logit": f64([-1.0, 9.0]),
    "yeo-johnson": f64([0.3]),
    "spline": spline_of(normal(400, seed=1).exp()),
}


@check
def maps_of_columns_by_finite_differences() -> None:
    """T^-1(T(x)) = x, T grows, and log dT/dx is that of a central difference, within the knots and beyond."""
    for name, p in NUMBERS.items():
        raw = f64([0.013, 0.4, 1.1, 2.7, 5.3, 8.9])
        raw = raw if name in ("log", "logit") else torch.cat([-raw, raw])
        m, h = MAPS[name], 1e-6
        close(m.inverse(m.forward(raw, p), p), raw, 1e-9, what=f"{name} and back")
        slope = (m.forward(raw + h, p) - m.forward(raw - h, p)) / (2 * h)
        assert (slope > 0).all(), f"{name} does not grow"
        close(m.log_slope(raw, p), slope.log(), 1e-6, what=f"log-slope of {name}")
    for power in (0.0, 2.0, -1.5):
        raw, p = f64([-3.0, -0.1, 0.2, 7.0]), f64([power])
        close(MAPS["yeo-johnson"].inverse(MAPS["yeo-johnson"].forward(raw, p), p), raw, 1e-9, what=f"power {power}")


def mixed_model(fields: list, latent: int = 2) -> tuple[VAE, Schema]:
    kinds = tuple(field.family for field in fields)
    family, shape = likelihoods.Columns, (len(fields),)
    torch.manual_seed(3)
    encoder = family.reader(networks.MLP(family.seen(shape, kinds=kinds), 2 * latent, (7,)), kinds=kinds)
    part = family(networks.MLP(latent, family.outputs(shape, kinds=kinds), (7,)), shape, kinds)
    model = VAE(prior=priors.Gaussian(latent), posterior=posteriors.Gaussian(encoder, latent), likelihood=part)
    names = tuple(f"c{i}" for i in range(len(fields)))
    schema = Schema(name="t", layout="table", shape=shape, values="mixed", columns=names, fields=nn.ModuleList(fields))
    return model.double(), schema


def some_fields() -> list:
    spiked = Number("real", low=0, high=50, loc=1.0, scale=0.5, transform="log", spike=0.0, modes=2)
    return [
        Number("real", low=-9, high=9, loc=2.0, scale=3.0),
        spiked,
        Levels.of(["a", "b", "c"]),
        Grid(1, 4),
        Count(9),
    ]


SOME = f64([[0.5, 0.0, 2, 4, 3], [-4.0, 7.5, 0, 1, 0], [torch.nan, torch.nan, 1, 2, torch.nan], [1.0, 2.5, 1, 3, 2]])


@check
def a_change_of_units_is_its_jacobian() -> None:
    """log p of 1000 x + 7 is log p of x less log 1000, for what is a density; a mass keeps its nats."""
    raw = torch.cat([normal(60, 1, seed=4), torch.zeros(40, 1).double()])
    raw = raw[torch.randperm(100, generator=generator(2))]
    before, after = (Number("real", low=-9, high=9).fit(column) for column in (raw[:, 0], 1000 * raw[:, 0] + 7))
    assert before.spike == 0.0, "40 % of equal values are no spike"
    assert after.spike == 7.0
    model, schema = mixed_model([before, Grid(1, 4)])
    x = torch.cat([raw, 1.0 + torch.arange(100).double()[:, None] % 4], 1)
    moved = torch.cat([1000 * x[:, :1] + 7, x[:, 1:]], 1)
    old = score(model, Dataset(x, schema), samples=7)
    new = score(model, Dataset(moved, schema.replace(fields=nn.ModuleList([after, Grid(1, 4)]))), samples=7)
    close(new - old, -math.log(1000) * (x[:, 0] != 0).double(), 1e-10, what="change of log p")


@check
def a_spike_and_the_rest_are_one_law() -> None:
    """The mass at the spike and the integral of the density elsewhere, in the user's units, are 1."""
    field = some_fields()[1]
    model, schema = mixed_model([field])
    z = normal(1, 2, seed=5)
    grid = torch.linspace(-14, 16, 40_001, dtype=torch.float64).exp()  # of the user's numbers
    raw = torch.cat([f64([0.0]), grid])[:, None]
    x = schema.encode(raw, dtype=torch.float64)
    assert x[0, 0] == SPIKE
    log_p = model.decode(z).base_dist.log_prob(x)[:, 0] + schema.jacobian(raw)[:, 0]
    total = log_p[0].exp() + torch.trapezoid(log_p[1:].exp(), grid)
    close(total, 1.0, 1e-5, what="mass and density")
    assert 0.01 < log_p[0].exp() < 0.99


@check
def gaps_are_seen_as_gaps() -> None:
    """What stands in a gap changes no bit; a gap is not a 0 to the encoder of mixed columns."""
    model, schema = mixed_model(some_fields())
    seen = ~SOME.isnan()
    eps = normal(5, 4, 2, seed=6)
    outcomes = []
    for value in (0.0, 3.0, 1e6, torch.nan):
        x = schema.encode(torch.where(seen, SOME, 0.0), dtype=torch.float64)
        t = model.terms(torch.where(seen, x, value), samples=5, observed=seen, noise=Given([eps]))
        outcomes.append(torch.cat([t.log_w, t.z.flatten(1)], 1))
    assert all(torch.equal(other, outcomes[0]) for other in outcomes), "what stands in a gap is heard"
    x = schema.encode(SOME, dtype=torch.float64)
    full = model.terms(x, samples=5, observed=torch.ones_like(seen), noise=Given([eps]))
    gap = (full.q.mean - t.q.mean).abs().amax(1)
    assert gap[2] > 1e-6, "a gap is a 0 to the encoder"
    assert gap[0] == 0


@check
def nats_per_column_sum_to_the_score() -> None:
    model, schema = mixed_model(some_fields())
    data = Dataset(SOME, schema)
    parts = per_column(model, Rows(data, dtype=torch.float64), samples=150, seed=3)
    close(parts.total, score(model, data, samples=150, seed=3), 1e-9, what="sum of the columns and z")
    assert (parts.columns[2, [0, 1, 4]] == 0).all()
    o = linear()
    x = normal(6, 5, seed=5)
    parts = per_column(o.model, Rows(real_data(x), dtype=torch.float64), samples=4)
    close(parts.total, o.marginal.log_prob(x), 1e-9, what="log p(x) of the linear model")


def with_gaps(o: Linear_, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Give the model the exact p(z | x_seen); return the regression of the missing on the seen, and its covariance."""
    w = o.w * seen[:, None]
    cov = (w.T @ (w / o.s[:, None] ** 2) + torch.eye(2).double() / o.tau**2).inverse()
    a = cov @ (w / o.s[:, None] ** 2).T
    b = cov.sum(1) * o.loc / o.tau**2 - a @ o.m
    o.model.posterior = gaussian("full-constant", a, b, torch.linalg.cholesky(cov))
    return regression(o, seen)


def regression(o: Linear_, seen: Tensor) -> tuple[Tensor, Tensor]:
    c = o.marginal.covariance_matrix
    gain = c[~seen][:, seen] @ c[seen][:, seen].inverse()
    return gain, c[~seen][:, ~seen] - gain @ c[seen][:, ~seen]


@check
def gaps_of_the_linear_model_are_filled_exactly() -> None:
    """E[x_missing | x_seen] to 1e-9 at the exact posterior, its units undone; draws have the exact covariance."""
    o = linear("full-constant")
    seen = torch.tensor([True, False, True, True, False])
    gain, cov = with_gaps(o, seen)
    loc, scale = normal(5, seed=8), normal(5, seed=9).exp()
    x = normal(6, 5, seed=5)
    p = o.marginal
    truth = (p.mean[~seen] + (x[:, seen] - p.mean[seen]) @ gain.T) * scale[~seen] + loc[~seen]
    data = real_data(torch.where(seen, x * scale + loc, torch.nan), loc, scale)
    found = impute(o.model, data, draws=400, samples=4000)
    close(found.values[:, ~seen], truth, 1e-9, what="single best values")
    assert torch.equal(found.values[:, seen], data.x[:, seen]), "what was observed has changed"
    assert torch.equal(found.draws[:, :, seen], data.x[:, seen].expand(400, -1, -1))
    close(found.effective, torch.full((6,), 4000.0), 1e-6, what="effective draws")
    e = (found.draws[:, :, ~seen] - truth).flatten(0, 1) / scale[~seen]
    error = (e.T @ e / len(e) - cov).abs()
    deviation = ((cov.diag()[:, None] * cov.diag() + cov**2) / len(e)).sqrt()
    assert (error < 5 * deviation + 0.02 * cov.diag().max()).all(), "covariance of the draws"
    inside = ((found.draws >= found.low) & (found.draws <= found.high))[:, :, ~seen].double().mean()
    assert abs(inside - 0.9) < 0.03, f"the interval of 90 % holds {inside:.3f}"


@check
def weights_correct_a_wrong_posterior() -> None:
    """With a q that is not p(z | x), weighted draws give the exact conditional mean within five standard errors."""
    o = linear(wrong=True)
    seen = torch.tensor([True, False, True, True, True])
    gain, rest = regression(o, seen)
    mean, x = o.marginal.mean, normal(3, 5, seed=5)
    truth = mean[~seen] + (x[:, seen] - mean[seen]) @ gain.T
    found = impute(o.model, real_data(torch.where(seen, x, torch.nan)), samples=40_000)
    error = (found.values[:, ~seen] - truth).abs()[:, 0] / (rest[0, 0] / found.effective).sqrt()
    assert (error < 5).all(), f"{error.max():.1f} standard errors off"


@check
def weighted_votes_and_quantiles_by_hand() -> None:
    value, weight = f64([[2, 0], [0, 1], [2, 1], [1, 5]]), f64([[0.2, 0.4], [0.35, 0.1], [0.2, 0.2], [0.25, 0.3]])
    close(vote(value, weight), f64([2, 0]), what="weightiest value")
    close(quantile(value, weight, 0.5), f64([1, 1]), what="median")
    close(quantile(value, weight, 0.05), f64([0, 0]), what="low quantile")


@check
def given_columns_are_those_of_the_model() -> None:
    """x_0 given, after training: the rest has the mean of the exact conditional, within five standard errors."""
    o = linear()
    schema = Schema(name="t", layout="table", shape=(5,), values="real", columns=tuple("abcde"))
    row = row_of(schema, {"a": 1.5})
    rows, effective = generate_given(o.model, schema, 3000, row, seed=1)
    assert (rows[:, 0] == 1.5).all()
    c, mean = o.marginal.covariance_matrix, o.marginal.mean
    truth = mean[1:] + c[1:, 0] / c[0, 0] * (1.5 - mean[0])
    spread = (c[1:, 1:] - torch.outer(c[1:, 0], c[1:, 0]) / c[0, 0]).diag()
    error = (rows[:, 1:].mean(0) - truth).abs() / (spread / 3000 + spread / effective).sqrt()
    assert (error < 5).all(), f"{error.max():.1f} standard errors off"


@check
def a_filled_table_differs_in_its_gaps_alone() -> None:
    """Byte for byte: spaces, quotes, 007, 1.10, ends of lines and blank lines stand as they stood."""
    text = 'id,size, name ,"a ""q"", b"\r\n007, 1.10 ,"x, y",1\r\n\r\n008,NA,?,2\r\n 9 ,, "z" ,3\r\n' + "".join(
        f"{i},{i % 7}.5,{'xyz'[i % 3]},{i * i % 11}\r\n" for i in range(10, 40)
    )
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "t.csv"
        path.write_bytes(text.encode())
        data = open_source(path, column=("id:identifier",)).fit_scaling()
        assert data.observed is not None
        assert (~data.observed).sum() == 3
        values = torch.where(data.observed, data.x, f64([2.5, 1.0, 7.0]))
        missing = ~data.observed.numpy()
        cells = cells_of(data.schema, values.numpy(), missing, data.row_numbers)
        word = data.schema.kinds[1].levels[1]
        truth = text.replace("008,NA,?,2", f'008,2.5,{word},2').replace(" 9 ,,", " 9 ,2.5,")  # fmt: skip
        truth = truth if "," not in word else truth.replace(f",{word},2", f',"{word}",2')
        got = filled_text(path, Reading.of(data.schema.reading), cells).decode()
        assert got == truth, f"{got[:90]!r}, expected {truth[:90]!r}"
