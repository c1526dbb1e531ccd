"""What every prior owes: one density for all rows, draws of it from any noise, gradients, a file, training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from oracles import F64, close, dataset, noise, rows, within
from vaelab import likelihoods, posteriors, priors
from vaelab.conditional import Conditional
from vaelab.distributions import UniformSphere, draw, held
from vaelab.evaluation import evaluate_model
from vaelab.models import VAE
from vaelab.networks import MLP, Linear
from vaelab.noise import RowNoise, SharedNoise, stream
from vaelab.objectives import Reconstruction
from vaelab.opening import load
from vaelab.run import Run
from vaelab.training import Settings, optimise

K, B, X, D = 2, 5, 7, 3


def encoder(of: type[posteriors.Amortized] = posteriors.Gaussian) -> posteriors.Amortized:
    return of(MLP(X, of.outputs(D), (11,), "tanh"), D)


# name -> the prior of a model with this posterior. A new prior is one line.
PRIORS: dict[str, Callable[[posteriors.Amortized], Conditional]] = {
    "gaussian": lambda q: priors.Gaussian(D, 0.3, 0.7),
    "mixture": lambda q: priors.Mixture(D, 4),
    "mixture, full": lambda q: priors.Mixture(D, 4, covariance="full"),
    "vamp": lambda q: priors.Vamp(q, (X,), 4),
    "vamp, learned": lambda q: priors.Vamp(q, (X,), 4, learned=True),
    "nsf": lambda q: priors.Flow(D, 1, 3),
    "maf": lambda q: priors.Flow(D, 2, 5, kind="maf"),
    "sphere": lambda q: priors.UniformSphere(D),
    "riemannian normal": lambda q: priors.RiemannianNormal(D, 0.8, 0.6),
    "concrete": lambda q: priors.Concrete(q),
    "codes": lambda q: priors.Codes(q),
    "codes, learned": lambda q: priors.Codes(q, learned=True),
    "codes, levels": lambda q: priors.Codes(q, learned=True),
    "codes, sequence": lambda q: priors.CodeSequence(q, hidden=11),
}
ON_R = [name for name in PRIORS if not name.startswith(("sphere", "codes", "concrete"))]


def family(name: str) -> type[posteriors.Amortized]:
    """The posterior of a model with this prior; a point mass where it is to have no bound."""
    if name == "codes, levels":
        return posteriors.ResidualNearest
    kind = name.partition(",")[0]
    kinds = {"sphere": posteriors.Point, "codes": posteriors.Nearest, "concrete": posteriors.Concrete}
    return kinds.get(kind, posteriors.Gaussian)


def build(name: str) -> Conditional:
    part = PRIORS[name](encoder(family(name))).double()
    rng = np.random.default_rng(4)
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.add_(torch.as_tensor(0.5 * rng.normal(size=parameter.shape)))
    return part


def test_the_table_names_every_prior() -> None:
    elsewhere = {priors.Conditioned}  # it needs a condition: checks_layers.py, test_posteriors_priors.py
    assert {type(build(name)) for name in PRIORS} | elsewhere == {getattr(priors, n) for n in priors.__all__}


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_one_density_for_any_number_of_rows(name: str, dtype: torch.dtype) -> None:
    p = build(name).to(dtype)()
    assert p.batch_shape == ()
    assert p.event_shape == (D,)
    wide = p.expand(torch.Size([B]))
    z = draw(wide, K, noise())
    assert z.shape == (K, B, D)
    assert z.dtype == dtype
    log_p = wide.log_prob(z)
    assert log_p.shape == (K, B)
    assert log_p.dtype == dtype
    close(log_p, p.log_prob(z))
    close(log_p[1, 3], p.log_prob(z[1, 3]), rel=1e-5 if dtype != F64 else 1e-12)
    assert draw(p, K, noise()).shape == (K, D)
    assert wide.mean.shape == wide.variance.shape == (B, D)


@pytest.mark.parametrize("name", PRIORS)
def test_draws_have_the_moments_of_the_density(name: str) -> None:
    p = build(name)()
    z = draw(p, 20_011, noise(3)).detach()
    if name in ("nsf", "maf", "concrete", "codes, sequence"):  # whose moments are those of fixed points
        return
    within(z, p.mean)
    within((z - p.mean).square(), p.variance)


@pytest.mark.parametrize("name", PRIORS)
def test_noise_of_rows_belongs_to_them(name: str) -> None:
    p = build(name)()
    whole = draw(p.expand(torch.Size([B])), K, RowNoise(7, range(B)))
    close(draw(p.expand(torch.Size([2])), K, RowNoise(7, [3, 1])), whole[:, [3, 1]])
    shared = draw(p.expand(torch.Size([B])), K, SharedNoise(stream(0, "any")))
    close(shared, shared[:, :1].expand(K, B, D))
    assert not torch.equal(shared[0], shared[1])


@pytest.mark.parametrize("name", ON_R)
def test_finite_differences(name: str) -> None:
    part = build(name)
    names, values = zip(*part.named_parameters()) if list(part.parameters()) else ((), ())
    z = torch.randn(K, D, dtype=F64, requires_grad=True)

    def log_p(z: Tensor, *parameters: Tensor) -> Tensor:
        call = torch.func.functional_call(part, dict(zip(names, parameters)), ())
        out: Tensor = call.log_prob(z)
        return out

    assert torch.autograd.gradcheck(log_p, (z, *values))


@pytest.mark.parametrize("name", PRIORS)
def test_held_parameters_have_no_gradient_and_change_no_value(name: str) -> None:
    p = build(name)()
    z = draw(p, K, noise()).detach()
    close(held(p).log_prob(z), p.log_prob(z))
    assert not held(p).log_prob(z).requires_grad


@pytest.mark.parametrize("name", PRIORS)
def test_a_model_trains_saves_loads_judges_and_draws(name: str, tmp_path: Path) -> None:
    q = encoder(family(name))
    model = VAE(prior=PRIORS[name](q), posterior=q, likelihood=likelihoods.Bernoulli(Linear(D, X), (X,)))
    x = (torch.rand(40, X) < 0.4).float()
    some = rows(x, values="binary", low=0, high=1, dtype=torch.float32)
    settings = Settings(epochs=2, batch_size=20)
    if name == "sphere":
        optimise(model, Reconstruction(), some, None, settings)
    else:
        before = {n: p.clone() for n, p in model.prior.named_parameters()}
        from vaelab.objectives import ELBO

        optimise(model, ELBO(), some, some, settings)
        assert all(not torch.equal(p, before[n]) for n, p in model.prior.named_parameters())
    run = Run(model, dataset(x, values="binary", low=0, high=1).schema)
    again = load(run.save(tmp_path / "model.safetensors"))
    assert torch.equal(again.generate(5, seed=3), run.generate(5, seed=3))
    for parameter, other in zip(model.parameters(), again.model.parameters()):
        assert torch.equal(parameter, other)
    judged = evaluate_model(again.model, some, samples=3)
    assert (judged.elbo is None) == (name == "sphere")
    assert run.generate(0).shape == (0, X)


def test_the_density_on_a_sphere_is_marked() -> None:
    assert UniformSphere.measure == "sphere"
