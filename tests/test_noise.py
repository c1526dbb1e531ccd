"""Noise is explicit: what is shared, what belongs to a row, what is given; and nothing global moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions as D

from oracles import F64, LinearGaussian, dataset, noise, rows, tensor, within
from vaelab.distributions import draw
from vaelab.errors import UsageError
from vaelab.evaluation import evaluate_model
from vaelab.noise import Given, Noise, RowNoise, SharedNoise, stream
from vaelab.objectives import ELBO
from vaelab.training import Settings, optimise, validation_bound
from vaelab.use import encode, generate, reconstruct, score

K, B, Z = 3, 5, 2
LIKE = torch.zeros((), dtype=F64)


def test_streams_of_other_names_and_seeds_differ() -> None:
    seeds = {stream(s, n).initial_seed() for s in range(50) for n in ("order", "noise", "score", "generate")}
    assert len(seeds) == 200
    assert stream(3, "noise").initial_seed() == stream(3, "noise").initial_seed()


@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize(
    "make",
    [lambda: Noise.seeded(3), lambda: SharedNoise(stream(3, "x")), lambda: RowNoise(3, range(B))],
    ids=["fresh", "shared", "rows"],
)
def test_the_law_and_the_repeatability_of_every_kind(kind: str, make) -> None:
    u = getattr(make(), kind)((20_011, B, Z), LIKE)
    again = getattr(make(), kind)((20_011, B, Z), LIKE)
    assert torch.equal(u, again)
    assert u.shape == (20_011, B, Z)
    law = stats.norm if kind == "normal" else stats.uniform
    for b in range(B):
        for d in range(Z):
            assert stats.kstest(u[:, b, d].numpy(), law.cdf).pvalue > 1e-6
    if kind == "uniform":
        assert u.min() > 0
    source = make()
    first, second = getattr(source, kind)((K, B, Z), LIKE), getattr(source, kind)((K, B, Z), LIKE)
    assert not torch.equal(first, second)


def test_shared_noise_is_the_same_for_every_row_whatever_the_type() -> None:
    u = SharedNoise(stream(1, "x")).normal((K, B, Z), LIKE)
    assert (u == u[:, :1]).all()
    assert len(u[:, 0].unique()) == K * Z
    single = SharedNoise(stream(1, "x")).normal((K, 7, Z), torch.zeros(()))
    assert torch.equal(single[:, :1], u[:, :1].float())


def test_row_noise_does_not_depend_on_the_batch() -> None:
    whole = RowNoise(1, range(B)).normal((K, B, Z), LIKE)
    some = RowNoise(1, [3, 1]).normal((K, 2, Z), LIKE)
    assert torch.equal(some, whole[:, [3, 1]])
    assert len(whole.unique()) == K * B * Z
    for other in (RowNoise(2, range(B)), RowNoise(1, range(B), block=1)):
        assert not (other.normal((K, B, Z), LIKE) == whole).any()
    with pytest.raises(UsageError, match="made for 5 rows, asked for 4"):
        RowNoise(1, range(B)).normal((K, 4, Z), LIKE)


def test_rows_are_uncorrelated_under_row_noise() -> None:
    u = RowNoise(0, range(997)).normal((1, 997, 2), LIKE)[0]
    within(u[1:] * u[:-1], np.zeros(2))
    within(u[:, 0] * u[:, 1], 0.0)
    within(u**2, np.ones(2))


def test_given_noise_is_handed_out_in_order_and_checked() -> None:
    a, b = torch.randn(K, B, Z), torch.randn(K, B, Z)
    source = Given([a, b])
    assert source.normal((K, B, Z), a) is a
    assert source.uniform((K, B, Z), a) is b
    with pytest.raises(UsageError, match="2 tensors were handed in, draw 3"):
        source.normal((K, B, Z), a)
    with pytest.raises(UsageError, match=r"tensor 1 has shape \(3, 5, 2\), expected \(3, 2, 5\)"):
        Given([a]).normal((K, Z, B), a)


def test_scaled_noise_multiplies_normals_only() -> None:
    plain, cold = Noise.seeded(1), Noise.seeded(1).scaled(0.3)
    assert torch.equal(0.3 * plain.normal((K, B, Z), LIKE), cold.normal((K, B, Z), LIKE))
    assert torch.equal(plain.uniform((K, B, Z), LIKE), cold.uniform((K, B, Z), LIKE))


def test_a_family_without_a_rule_draws_from_the_noise_too(untouched) -> None:
    d = D.Gamma(torch.full((B, Z), 2.0, dtype=F64), torch.full((B, Z), 3.0, dtype=F64))
    with untouched():
        x = draw(d, 20_011, noise(5))
        assert torch.equal(x, draw(d, 20_011, noise(5)))
        assert not torch.equal(x, draw(d, 20_011, noise(6)))
    within(x, d.mean)


def test_nothing_global_moves(untouched) -> None:
    truth = LinearGaussian.random(7, 3)
    model, x = truth.vae(), truth.sample(53)
    some = rows(x)
    with untouched():
        model.terms(tensor(x), samples=2)
        model.generate(11)
        model.generate(11, means=True, temperature=0.5)
        validation_bound(model, some)
        evaluate_model(model, some, samples=7)
        generate(model, some.schema, 11)
        reconstruct(model, dataset(x))
        score(model, dataset(x), samples=7)
        encode(model, dataset(x))
        optimise(model, ELBO(), some, some, Settings(epochs=2, batch_size=17))


def test_noise_that_is_not_given_differs_from_call_to_call() -> None:
    truth = LinearGaussian.random(7, 3)
    model, x = truth.vae(), tensor(truth.sample(5))
    assert not torch.equal(model.terms(x).z, model.terms(x).z)
    assert not torch.equal(model.generate(5), model.generate(5))


def test_generated_rows_repeat_with_the_seed() -> None:
    truth = LinearGaussian.random(7, 3)
    model, schema = truth.vae(), rows(truth.sample(11)).schema
    assert torch.equal(generate(model, schema, 13, seed=1), generate(model, schema, 13, seed=1))
    assert not torch.equal(generate(model, schema, 13, seed=1), generate(model, schema, 13, seed=2))
