"""Exact checks of the verbs: encode, decode, reconstruct, interpolate, score, generate."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from checks_figures import small
from exact import bounded, check, close, generator, linear, normal, real_data, real_rows
from vaelab import likelihoods, posteriors, priors
from vaelab.data import Dataset, Schema
from vaelab.models import VAE
from vaelab.networks import MLP, Linear
from vaelab.noise import Noise, SharedNoise, stream
from vaelab.use import decode, encode, generate, path_through, reconstruct, score

LIKE = torch.zeros((), dtype=torch.float64)


@check
def use_speaks_the_users_units() -> None:
    """generate draws x, not its mean; reconstruct averages E[x | z] over draws; both undo the scaling."""
    o = linear()
    loc, scale = normal(5, seed=8), normal(5, seed=9).exp()
    rows = real_rows(normal(4, 5, seed=5) * scale + loc, loc, scale)
    noise = Noise(stream(2, "generate"))
    eps, more = noise.normal((1, 3000, 2), LIKE)[0], noise.normal((1, 3000, 5), LIKE)[0]
    centre = (o.loc + o.tau * eps) @ o.w.T + o.m
    close(generate(o.model, rows.schema, 3000, seed=2), (centre + o.s * more) * scale + loc, what="draws")
    close(generate(o.model, rows.schema, 3000, seed=2, means=True), centre * scale + loc, what="means")
    model = small(rows)
    model.likelihood.network = MLP(2, 5, (6,), "tanh").double()
    mean, raw = model.posterior.network(rows.data).chunk(2, -1)
    eps = SharedNoise(stream(0, "reconstruct")).normal((32, 4, 2), LIKE)
    z = mean + bounded(raw).exp() * eps
    truth = model.likelihood.network(z).mean(0) * scale + loc
    data = real_data(normal(4, 5, seed=5) * scale + loc, loc, scale)
    close(reconstruct(model, data), truth, what="reconstructions")


@check
def generated_blocks_differ() -> None:
    o = linear()
    drawn = generate(o.model, real_rows(normal(4, 5)).schema, 4096 + 50, means=True)
    assert len(drawn.unique(dim=0)) == len(drawn), "rows of two blocks are the same"


@check
def codes_are_exact() -> None:
    """z0.. = E[z | x], sd0.. = sd[z | x], also where entries are missing and from single precision; decode: W z + m."""
    o = linear(wrong=True)
    loc, scale = normal(5, seed=8), normal(5, seed=9).exp()
    x = normal(7, 5, seed=5)
    seen = torch.rand(7, 5, generator=generator(1)) < 0.7
    data = real_data(x * scale + loc, loc, scale)
    o.model.train()
    codes = encode(o.model, data)
    assert o.model.training, "the mode of the model was not put back"
    close(codes.mean, x @ o.a.T + o.b, what="means")
    close(codes.deviation, o.l.diagonal().expand(7, 2), what="deviations")
    masked = encode(o.model, real_data(x * scale + loc, loc, scale, seen))
    close(masked.mean, torch.where(seen, x, 0) @ o.a.T + o.b, what="means of masked rows")
    z = normal(3, 2, seed=6)
    close(decode(o.model, data.schema, z), (z @ o.w.T + o.m) * scale + loc, what="decoded")
    o.model.float()
    single = o.a.float().double(), o.b.float().double()
    close(encode(o.model, data).mean, x @ single[0].T + single[1], 1e-10, what="means of a model in single precision")


@check
def score_is_the_density() -> None:
    """With the exact posterior log N(x; m, C) less the sum of log scale, whatever K; rows do not see each other."""
    o = linear(posterior="full")
    loc, scale = normal(5, seed=8), normal(5, seed=9).exp()
    x = normal(7, 5, seed=5)
    data = real_data(x * scale + loc, loc, scale)
    cov = o.tau**2 * o.w @ o.w.T + torch.diag(o.s**2)
    truth = MultivariateNormal(o.w.sum(1) * o.loc + o.m, cov).log_prob(x)
    for samples in (1, 130):
        close(score(o.model, data, samples=samples), truth - scale.log().sum(), what=f"score, K={samples}")
    close(score(o.model, data, samples=1, units="standardised"), truth, what="score, standardised")
    seen = torch.rand(7, 5, generator=generator(1)) < 0.7
    one = score(o.model, real_data(x, None, scale, seen), samples=1)
    other = score(o.model, real_data(x / scale, None, torch.ones(5, dtype=torch.float64), seen), samples=1)
    close(one, other - (seen * scale.log()).sum(1), what="score of masked rows in other units")
    wrong = linear(wrong=True)
    order = torch.tensor([3, 0, 6, 1])
    whole = score(wrong.model, data, samples=130)
    close(score(wrong.model, data.take(order), samples=130), whole[order], 1e-10, what="score of rows in another order")
    eps = SharedNoise(stream(0, "score"))
    draws = torch.cat([eps.normal((k, 7, 2), LIKE) for k in (100, 30)])
    log_px, log_pz, log_qz = wrong.by_hand(x, draws)
    log_w = (log_px.sum(-1) + log_pz - log_qz).logsumexp(0) - math.log(130)
    close(whole, log_w - scale.log().sum(), what="score by hand")


@check
def grey_rows_are_drawn_by_themselves() -> None:
    """A grey image is binarised by thresholds that are the same for every row, so its code depends on nothing else."""
    schema = Schema(name="grey", layout="array", shape=(6,), values="binary", low=0, high=16, binarize="stochastic")
    data = Dataset(torch.randint(17, (9, 6), generator=generator(4)).double(), schema)
    model = VAE(
        prior=priors.Gaussian(2),
        posterior=posteriors.Gaussian(Linear(6, 4), 2),
        likelihood=likelihoods.Bernoulli(Linear(2, 6), (6,)),
    )
    model.posterior.network.map.weight.data = normal(4, 6, seed=1).float()
    order = torch.tensor([8, 2, 2, 5])
    close(encode(model, data.take(order)).mean, encode(model, data).mean[order], 1e-10, what="codes in another order")
    close(score(model, data.take(order), samples=5), score(model, data, samples=5)[order], 1e-10, what="scores")
    u = SharedNoise(stream(0, "binarize")).uniform((1, 9, 6), LIKE)[0]
    x = (u < data.x / 16).double()
    truth = x @ model.posterior.network.map.weight.double().T + model.posterior.network.map.bias.double()
    close(encode(model, data).mean, truth[:, :2], what="codes of the drawn rows")


def _angles(path: Tensor) -> Tensor:
    unit = path / path.norm(dim=1, keepdim=True)
    return torch.arccos((unit[1:] * unit[:-1]).sum(1))


@check
def paths_go_where_they_say() -> None:
    """Straight: even steps on a line. Spherical: even angles in the plane of its ends, radius from one to the other."""
    places = normal(3, 5, seed=3) * torch.tensor([1.0, 2.0, 0.5]).double()[:, None]
    for path in ("straight", "spherical"):
        found = path_through(places, 8, path)
        assert found.shape == (17, 5)
        close(found[::8], places, what=f"{path}: the places themselves")
    straight, turned = path_through(places[:2], 8), path_through(places[:2], 8, "spherical")
    close(straight.diff(dim=0), (places[1] - places[0]).expand(8, 5) / 8, what="straight steps")
    angles = _angles(turned)
    close(angles, angles.mean().expand(8), what="angles")
    whole = torch.arccos((places[0] @ places[1]) / (places[0].norm() * places[1].norm()))
    close(angles.sum(), whole, what="whole angle")
    close(
        turned.norm(dim=1), torch.lerp(places[0].norm(), places[1].norm(), torch.arange(9).double() / 8), what="radius"
    )
    assert torch.linalg.matrix_rank(turned, tol=1e-9) == 2, "it leaves the plane of its ends"
    same = path_through(torch.stack([places[0], 3 * places[0]]), 4, "spherical")
    close(same, path_through(torch.stack([places[0], 3 * places[0]]), 4), what="along one ray")
