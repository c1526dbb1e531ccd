"""Exact checks of data, training, evaluation and use."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from exact import Linear_, bounded, check, close, f64, generator, linear, log_normal, normal, real_rows
from vaelab import likelihoods, posteriors, priors
from vaelab.data import Dataset, Schema
from vaelab.evaluation import active_units, evaluate_model, evidence_rows, mutual_information
from vaelab.models import VAE
from vaelab.networks import Linear
from vaelab.noise import Given, Noise, RowNoise, stream
from vaelab.objectives import ELBO, IWAE, Objective, Reconstruction
from vaelab.training import Rows, Settings, optimise, validation_bound


class Spy(nn.Module):
    """A network that notes its mode and its rows at every call; a little dropout makes the mode matter."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.dropout = network, nn.Dropout(0.2)
        self.calls: list[tuple[bool, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append((self.training, len(x)))
        return self.network(self.dropout(x))


def wide(dims: int, rows: int) -> tuple[Linear_, Rows]:
    """A model whose q is not exact; over x, the mean of its second latent has a deviation of 0.05 only."""
    o = linear(wrong=True, dims=dims)
    x = normal(rows, dims, seed=5)
    o.a *= f64([[1.0], [0.05]]) / (x @ o.a.T).std(0, correction=0)[:, None]
    o.model.posterior.network.map.weight.data[:2] = o.a
    return o, real_rows(x)


@check
def evaluate_by_hand() -> None:
    """All figures against their formulas: 12 rows in blocks of 9 and 3, 150 draws in blocks of 100 and 50."""
    o, rows = wide(1100, 12)
    found = evaluate_model(o.model, rows, samples=150, seed=3)
    like = torch.zeros((), dtype=torch.float64)
    eps = torch.cat([RowNoise(3, range(12), b).normal((k, 12, 2), like) for b, k in ((0, 100), (1, 50))])
    log_px, log_pz, log_qz = o.by_hand(rows.data, eps)
    log_w = log_px.sum(-1) + log_pz - log_qz
    mean = rows.data @ o.a.T + o.b
    q, p = Normal(mean, o.l.diagonal().expand_as(mean)), Normal(f64(o.loc), f64(o.tau))
    kl = kl_divergence(q, p)
    evidence = log_w.logsumexp(0) - math.log(150)
    for name, truth in (
        ("elbo", log_w.mean(0)),
        ("log_evidence", evidence),
        ("kl", kl.sum(1)),
        ("reconstruction", log_w.mean(0) + kl.sum(1)),
    ):
        figure = getattr(found, name)
        close(figure.value, truth.mean(), what=name)
        close(figure.se, truth.std() / math.sqrt(12), 1e-8, what=f"standard error of {name}")
    close(f64(found.kl_per_dimension), kl.mean(0), what="KL per dimension")
    assert abs(found.elbo.value - found.reconstruction.value + found.kl.value) < 1e-8
    assert found.active_units == 1, f"{found.active_units} active units, the second varies by 0.05 only"
    assert (found.rows, found.bits_per_dimension) == (12, None)


@check
def few_draws_by_hand() -> None:
    """K below the number of rows, one block."""
    o, rows = wide(5, 20)
    eps = RowNoise(0, range(20)).normal((7, 20, 2), torch.zeros((), dtype=torch.float64))
    log_px, log_pz, log_qz = o.by_hand(rows.data, eps)
    log_w = log_px.sum(-1) + log_pz - log_qz
    values = evidence_rows(o.model, rows, samples=7)
    close(values.elbo, log_w.mean(0), what="ELBO by row")
    close(values.evidence, log_w.exp().mean(0).log(), what="evidence by row")
    found, again = (evaluate_model(o.model, rows, samples=7, seed=1) for _ in range(2))
    assert found == again, "evaluate is not deterministic"
    shared = evidence_rows(o.model, rows, samples=7, shared=True)
    for row in (0, 13):
        alone = evidence_rows(o.model, real_rows(rows.data[row : row + 1]), samples=7, shared=True)
        close(alone.evidence[0], shared.evidence[row], what="a row's score alone and in a batch")


@check
def codes_are_counted_from_the_lowest() -> None:
    """A category is its place on the grid, 0 .. levels - 1, not a share of the range; its mass knows no units."""
    schema = Schema(name="check", layout="array", shape=(3,), values="category", low=2, high=6)
    raw = f64([[2, 3, 6], [4, 5, 2]])
    codes = schema.encode(raw, dtype=torch.float64)
    assert torch.equal(codes, raw - 2), f"codes {codes.tolist()}"
    assert torch.equal(schema.decode(codes, round=True), raw), "codes and back"
    assert schema.log_det() == 0
    logits = normal(3, 5, seed=3)
    network = Linear(2, (3, 5)).double()
    with torch.no_grad():
        network.map.weight.zero_()
        network.map.bias.copy_(logits.flatten())
    px = likelihoods.Categorical(network, (3,), 5)(torch.zeros(1, 2, dtype=torch.float64))
    picked = logits.log_softmax(-1)[torch.arange(3), (raw - 2).long()].sum(-1)
    close(px.log_prob(codes), picked, what="log-mass of codes")


@check
def conditions_stay_with_their_rows() -> None:
    """The condition of a row goes where the row goes."""
    x = torch.arange(13.0, dtype=torch.float64)[:, None]
    schema = Schema(name="check", layout="array", shape=(1,), values="real")
    rows = Rows(replace(Dataset(x, schema), condition=10 * x).take(torch.arange(12, -1, -1)), dtype=torch.float64)
    for batch in (*rows.shuffled(5, generator(), Noise(generator())), *rows.in_order(5), *rows.first(3).in_order(2)):
        assert batch.condition is not None
        assert torch.equal(batch.condition, 10 * batch.x), "a row got the condition of another"


@check
def change_of_units() -> None:
    """log p(raw) = log p(x) - sum log scale; masks keep their own entries; integer masses do not move."""
    o = linear("full")
    loc, scale = normal(5, seed=8), normal(5, seed=9).exp()
    x = normal(9, 5, seed=5)
    raw = x * scale + loc
    rows = real_rows(raw, loc, scale)
    close(rows.data, x, what="standardised rows")
    close(rows.schema.decode(x), raw, what="rows in the user's units")
    cov = scale[:, None] * o.marginal.covariance_matrix * scale
    truth = MultivariateNormal(loc + scale * o.marginal.mean, cov).log_prob(raw).mean()
    user = evaluate_model(o.model, rows, samples=3)
    for name in ("elbo", "log_evidence"):
        close(getattr(user, name).value, truth, what=f"{name} in the user's units")
    plain = evaluate_model(o.model, rows, samples=3, units="standardised")
    close(plain.log_evidence.value, o.marginal.log_prob(x).mean(), what="evidence in the model's units")
    shift = -scale.log().sum()
    close(
        user.reconstruction.value - plain.reconstruction.value,
        shift,
        1e-9,
        what="shift of the reconstruction",
    )
    seen = normal(9, 5, seed=7) > 0
    close(rows.schema.log_det(seen), -(seen * scale.log()).sum(1), what="log-determinant of observed entries")
    integers = Schema(name="check", layout="image", shape=(2, 3), values="integer", low=0, high=255)
    close(integers.log_det(), 0.0, what="log-determinant of a mass")
    pixels = torch.tensor([[[0, 51, 255], [102, 1, 3]]], dtype=torch.uint8)
    close(integers.encode(pixels, dtype=torch.float64)[0, 0], pixels[0].double() / 255, what="encoded pixels")


@check
def bits_per_dimension_of_masses() -> None:
    """A decoder that ignores z: the ELBO of the masses is known, less the KL."""
    bins = 17
    data = Dataset(torch.arange(12).reshape(4, 3).double(), Schema(
        name="check", layout="array", shape=(3,), values="integer", low=0, high=bins - 1))  # fmt: skip
    likelihood = likelihoods.DiscretizedLogistic(Linear(2, (2, 3)), (3,), bins)
    likelihood.network.map.weight.data.zero_()
    likelihood.network.map.bias.data = torch.tensor([-0.1, 0.0, 0.2, 0.5, 0.0, -0.5])
    posterior = posteriors.Gaussian(Linear(3, 4), 2)
    nn.init.zeros_(posterior.network.map.weight)
    nn.init.zeros_(posterior.network.map.bias)
    model = VAE(prior=priors.Gaussian(2), posterior=posterior, likelihood=likelihood).double()
    found = evaluate_model(model, Rows(data, dtype=torch.float64), samples=5)
    mu = 0.5 + f64([-0.1, 0.0, 0.2])
    s = 0.1 * f64([math.exp(bounded(f64(r)).item()) for r in (0.5, 0.0, -0.5)])
    x, half = data.x / (bins - 1), 0.5 / (bins - 1)
    upper, lower = torch.sigmoid((x + half - mu) / s), torch.sigmoid((x - half - mu) / s)
    truth = (upper - torch.where(data.x == 0, 0.0, lower)).log().sum(1).mean()
    close(found.elbo.value, truth, 1e-6, what="ELBO of the masses")
    close(found.bits_per_dimension, -truth / (3 * math.log(2)), 1e-6, what="bits per dimension")


@check
def scaling_is_of_the_training_rows() -> None:
    """Mean and deviation (divisor N) of observed training entries; test rows take them, and lend nothing."""
    x = 3 * normal(14, 4, seed=5) + 7
    x[2, 1] = x[5, 1] = x[0, 3] = math.nan
    schema = Schema(name="check", layout="array", shape=(4,), values="real")
    test = Dataset(100 + normal(6, 4, seed=6), schema)
    data = Dataset(x, schema, ~x.isnan(), test=test).fit_scaling()
    mean = x.nanmean(0)
    close(data.schema.loc, mean, what="location")
    close(data.schema.scale, (x - mean).square().nanmean(0).sqrt(), what="scale")
    assert data.test is not None
    close(data.test.schema.loc, mean, what="location of the test rows")
    close(data.test.schema.scale, data.schema.scale, what="scale of the test rows")
    train, held = Dataset(torch.arange(50.0).double()[:, None], Schema(
        name="check", layout="array", shape=(1,), values="real")).split(0.3, seed=1)  # fmt: skip
    assert held is not None
    assert sorted([*train.x[:, 0].tolist(), *held.x[:, 0].tolist()]) == list(range(50)), "rows lost or in both parts"


@check
def rows_are_seen_once() -> None:
    data = torch.arange(13.0).double()[:, None]
    rows, noise = real_rows(data), Noise(generator())
    for batches in (list(rows.shuffled(5, generator(), noise)), list(rows.in_order(5))):
        assert sorted(torch.cat([b.x for b in batches])[:, 0].tolist()) == list(range(13)), "rows dropped or repeated"
    schema = Schema(name="check", layout="array", shape=(40,), values="binary", low=0, high=255, binarize="stochastic")
    grey = torch.arange(80).reshape(2, 40).double() * 3
    u = torch.rand(1, 2, 40, generator=generator(2), dtype=torch.float64)
    drawn = schema.encode(grey, Given([u]), torch.float64)
    assert torch.equal(drawn, (u[0] < grey / 255).double()), "binarisation is not 1[u < grey]"
    again = Rows(Dataset(grey, schema), dtype=torch.float64)
    assert not torch.equal(again.at(slice(0, 2), noise).x, again.at(slice(0, 2), noise).x), "binarised once for all"
    kept = again.drawn(3)
    assert torch.equal(kept.at(slice(0, 2)).x, kept.at(slice(0, 2)).x), "binarised afresh where it was drawn once"


@check
def validation_bound_is_exact() -> None:
    """50 rows in batches of 40 and 10: the mean over rows is log p(x) at the exact posterior."""
    o = linear()
    rows = real_rows(normal(50, 5, seed=5) * torch.linspace(1, 4, 50, dtype=torch.float64)[:, None])
    bound, elbo, reconstruction, kl = validation_bound(o.model, rows, draws=5000)
    assert bound == elbo, "the ELBO is the bound that a run is judged by"
    close(bound, o.marginal.log_prob(rows.data).mean(), what="validation bound")
    close(reconstruction - kl, bound, what="reconstruction - KL")


def small(rows: Rows, hidden: nn.Module | None = None) -> VAE:
    dims = rows.data.shape[1]
    torch_state = torch.random.get_rng_state()
    torch.manual_seed(0)
    model = VAE(
        prior=priors.Gaussian(2),
        posterior=posteriors.Gaussian(hidden or Linear(dims, 4), 2),
        likelihood=likelihoods.Gaussian(Linear(2, dims), (dims,), 0.3),
    ).double()
    torch.random.set_rng_state(torch_state)
    return model


@check
def training_keeps_the_best_bound() -> None:
    """In an endless warm-up the annealed loss falls for ever; the beta = 1 bound has its best early."""
    x = linear().marginal.covariance_matrix
    x = normal(70, 5, seed=5) @ torch.linalg.cholesky(x).T
    train, valid = real_rows(x[:40]), real_rows(x[40:])
    model = small(train)
    kept: list[tuple[dict, dict]] = []

    def report(record: dict, history: object) -> None:
        kept.append((record, {k: v.clone() for k, v in model.state_dict().items()}))

    settings = Settings(epochs=30, batch_size=20, lr=0.03, lr_warmup=0, decay="none", patience=100)
    objective = ELBO(warmup=10**6, samples=4)
    history = optimise(model, objective, train, valid, settings, report)
    eps = Noise(stream(0, "validation")).normal((100, 30, 2), x)
    truth = [bound_by_hand(state, valid.data, eps) for _, state in kept]
    for (record, _), (bound, reconstruction) in zip(kept, truth, strict=True):
        close(record["elbo"], bound, 1e-9, what="reported ELBO, beta = 1")
        close(record["reconstruction"], reconstruction, 1e-9, what="reported reconstruction")
        close(record["kl"], reconstruction - bound, 1e-8, what="reported KL")
    best = max(range(30), key=lambda i: truth[i][0])
    annealed = max(range(30), key=lambda i: truth[i][1])
    assert 5 < best < 20 < annealed, f"the case does not tell: {best}, {annealed}"
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept[best][1][name]), f"{name} is not that of epoch {best + 1}"
    assert history.best is not None
    assert history.best["epoch"] == best + 1
    stopped = optimise(small(train), objective, train, valid, Settings(**{**vars(settings), "patience": 6}))
    assert len(stopped.records) == best + 1 + 6, f"stopped after {len(stopped.records)}, the best was {best + 1}"


@check
def weighted_runs_keep_the_best_weighted_bound() -> None:
    """Of a run of IWAE the ELBO is not the judge: the kept weights have the best mean of log 1/K sum_k w_k."""
    x = linear().marginal.covariance_matrix
    x = normal(70, 5, seed=5) @ torch.linalg.cholesky(x).T
    train, valid = real_rows(x[:40]), real_rows(x[40:])
    model = small(train)
    settings = Settings(epochs=30, batch_size=20, lr=0.03, lr_warmup=0, decay="none", patience=100)
    history = optimise(model, IWAE(20), train, valid, settings)
    eps = Noise(stream(0, "validation")).normal((100, 30, 2), valid.data)
    log_w = model.terms(valid.data, samples=100, noise=Given([eps])).log_w
    assert history.best is not None
    close(history.best["bound"], (log_w.logsumexp(0) - math.log(100)).mean(), 1e-9, what="the kept weights' bound")
    close(history.best["elbo"], log_w.mean(), 1e-9, what="the kept weights' ELBO")
    assert history.best["bound"] == max(r["bound"] for r in history.records), "not the best weighted bound"
    assert history.best["elbo"] < max(r["elbo"] for r in history.records), "the case does not tell"


def bound_by_hand(state: dict[str, Tensor], x: Tensor, eps: Tensor) -> tuple[float, float]:
    out = x @ state["posterior.network.map.weight"].T + state["posterior.network.map.bias"]
    mean, raw = out.chunk(2, -1)
    deviation = bounded(raw).exp()
    z = mean + deviation * eps
    centre = z @ state["likelihood.network.map.weight"].T + state["likelihood.network.map.bias"]
    log_px = log_normal(x, centre, 0.3).sum(-1)
    log_w = log_px + log_normal(z, 0.0, 1.0).sum(-1) - log_normal(z, mean, deviation).sum(-1)
    return log_w.mean().item(), log_px.mean().item()


@check
def modes_and_rows_of_training() -> None:
    """Steps in training mode on every row, validation in eval mode; the loss is a mean over rows."""
    train, valid = real_rows(normal(13, 3, seed=5)), real_rows(normal(11, 3, seed=6))
    spy = Spy(Linear(3, 4))
    model = small(train, spy)
    optimise(model, ELBO(), train, valid, Settings(epochs=2, batch_size=5, lr_warmup=0))
    assert spy.calls == 2 * [(True, 5), (True, 5), (True, 3), (False, 11)], f"calls (training, rows): {spy.calls}"
    assert not model.training, "the model comes back in training mode"
    calm = evidence_rows(model, valid, samples=3)
    close(evidence_rows(model.train(), valid, samples=3).elbo, calm.elbo, what="a model left in training mode")
    assert model.training, "looking at a model in training has switched its mode for good"
    code = posteriors.Point(Linear(3, 2), 2)
    plain = VAE(
        prior=priors.Gaussian(2), posterior=code, likelihood=likelihoods.Gaussian(Linear(2, 3), (3,), 0.3)
    ).double()
    rows = real_rows(train.data * torch.linspace(1, 5, 13, dtype=torch.float64)[:, None])
    loss = -log_normal(rows.data, plain.likelihood.network(code.network(rows.data)), 0.3).sum(-1).mean().item()
    objective: Objective = Reconstruction()
    history = optimise(plain, objective, rows, None, Settings(epochs=1, batch_size=5, lr=1e-13))
    close(history.records[0]["loss"], loss, 1e-9, what="training loss, a mean over rows")


@check
def information_of_known_codes() -> None:
    """Equal rows tell nothing, I = 0; rows far apart tell which they are, I = log N; N copies lie between."""
    o = linear()
    same = mutual_information(o.model, real_rows(normal(1, 5, seed=5).expand(8, 5).contiguous()))
    far = mutual_information(o.model, real_rows(1e4 * normal(8, 5, seed=5)))
    pairs = mutual_information(o.model, real_rows(1e4 * normal(4, 5, seed=5).repeat(2, 1)))
    for found, truth in ((same, 0.0), (far, math.log(8)), (pairs, math.log(4))):
        assert found is not None
        close(found[0], truth, 1e-8, what="mutual information")
    x, rows = normal(6, 5, seed=5), real_rows(normal(6, 5, seed=5))
    found = mutual_information(o.model, rows)
    pick = torch.randperm(6, generator=stream(0, "rows"))
    noise = Noise(stream(0, "mutual information"))
    eps = [noise.normal((1, 6, 2), x) for _ in range(2)][1]
    mean, deviation = o_mean(o, x[pick]), o.l.diagonal()
    z = mean + deviation * eps[0]
    log_q = torch.stack([log_normal(z, m, deviation).sum(-1) for m in mean], -1)
    aggregate = log_q.exp().mean(1).log()
    assert found is not None
    close(found[0], (log_q.diagonal() - aggregate).mean(), what="mutual information")
    close(found[1], (aggregate - log_normal(z, o.loc, o.tau).sum(-1)).mean(), what="KL(q(z) || p(z))")


def o_mean(o: Linear_, x: Tensor) -> Tensor:
    return x @ o.a.T + o.b


@check
def units_are_active_by_variance() -> None:
    column = f64([-1.0, 1.0, -1.0, 1.0])
    mean = torch.stack([0.2 * column + 5, 0.05 * column, 0.11 * column, 0.0 * column + 3], 1)
    assert active_units(mean) == 2, "active: variance over x above 0.01"
