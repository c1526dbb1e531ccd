"""What every objective owes: rows, owners, gradients, masks, conditions, types, refusals; and every recipe runs."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from torch import Tensor, nn

import vaelab
from oracles import F64, given, noise, rows
from vaelab import likelihoods, objectives, posteriors, priors
from vaelab.errors import UsageError
from vaelab.models import VAE
from vaelab.networks import MLP
from vaelab.noise import Given, Noise
from vaelab.objectives import Objective
from vaelab.parts import known, parse
from vaelab.recipes import RECIPES
from vaelab.training import Settings, optimise

B, X, Z = 5, 7, 3

# name -> arguments; more than one row for a class where a choice changes the mathematics. A new objective is one line.
OBJECTIVES = {
    "elbo": {"beta": 2.0, "warmup": 5, "samples": 2},
    "elbo, free bits": {"free_bits": 0.3, "samples": 2},
    "elbo, free bits per layer": {"free_bits": 0.8, "free_per": "layer"},
    "elbo, stopped": {"gradient": "stopped"},
    "iwae": {"samples": 4},
    "iwae, stopped": {"samples": 4, "gradient": "stopped"},
    "iwae, dreg": {"samples": 4, "gradient": "dreg"},
    "reconstruction": {},
    "renyi": {"alpha": 0.4, "samples": 4},
    "renyi, max": {"alpha": -math.inf, "samples": 4},
    "multiply-iwae": {"samples": 4, "groups": 2},
    "partial-iwae": {"samples": 4, "groups": 2},
    "combined-iwae": {"samples": 4},
    "score": {"samples": 2},
    "vimco": {"samples": 3},
    "total-correlation": {"samples": 2},
    "total-correlation, weighted": {"estimator": "weighted"},
    "factor": {"width": 5, "layers": 1, "samples": 2},
    "adversarial": {"width": 5, "layers": 1, "samples": 2},
    "mmd": {"samples": 2},
    "mmd, info": {"beta": 0.5, "kernel": "rbf"},
    "sliced-wasserstein": {"projections": 4, "beta": 0.5},
    "dip": {},
    "dip, i": {"kind": "i"},
    "capacity": {"capacity": 3.0, "warmup": 7},
    "rae": {},
    "rae, gradient": {"penalty": "gradient", "samples": 2},
    "learned-similarity": {"shape": (X,), "width": 5, "layers": 2, "samples": 2, "gamma": 0.4},
    "wake-sleep": {},
    "reweighted-wake-sleep": {"samples": 3},
    "monte-carlo-em": {"leapfrog": 2, "acceptance": 0.8},
}
# their gradient is that of an estimator, not of the value that they return
ESTIMATORS = ("elbo, stopped", "iwae, stopped", "iwae, dreg", "score", "vimco", "wake-sleep", "reweighted-wake-sleep",
              "monte-carlo-em")  # fmt: skip
WITHOUT_DENSITY = ("reconstruction", "adversarial", "mmd", "rae", "rae, gradient")  # work for a point mass


def build(name: str, latent_dim: int = Z) -> Objective:
    part = known("objective")[name.partition(",")[0]]
    offered = {"latent_dim": latent_dim} if "latent_dim" in inspect.signature(part.__init__).parameters else {}
    made = part(**offered, **OBJECTIVES[name]).double()
    made.start(torch.zeros(1, X), 50)
    return made


def model(condition: int = 0, point: bool = False) -> VAE:
    family = posteriors.Point if point else posteriors.Gaussian
    return VAE(
        prior=priors.Gaussian(Z),
        posterior=family(MLP(X, family.outputs(Z), (6,), "tanh", condition), Z),
        likelihood=likelihoods.Gaussian(MLP(Z, X, (6,), "tanh", condition), (X,)),
    ).double()


class Recorded(Noise):
    """Keeps what it draws, so that the same call can be made again."""

    def __init__(self) -> None:
        super().__init__(noise(5).generator)
        self.kept: list[Tensor] = []

    def normal(self, shape, like):
        self.kept.append(super().normal(shape, like))
        return self.kept[-1]

    def uniform(self, shape, like):
        self.kept.append(super().uniform(shape, like))
        return self.kept[-1]

    def again(self) -> Given:
        return given(*self.kept)


def losses(
    objective: Objective, vae: VAE, x: Tensor, source: Noise | None = None, **batch: Tensor
) -> dict[str, Tensor]:
    return objective(vae, x, noise=source or noise(5), step=3, **batch)[0]


def test_the_table_names_every_objective() -> None:
    # for the posterior `nearest`, the model of M2 and images alone: test_quantiser.py, test_semisupervised.py,
    # test_similarity.py
    elsewhere = {"quantised", "semi-supervised", "similarity"}
    assert {name.partition(",")[0] for name in OBJECTIVES} | elsewhere == set(known("objective"))
    for name, space in vars(objectives).items():
        if inspect.isclass(space) and issubclass(space, Objective) and not inspect.isabstract(space):
            assert name in objectives.__all__


@pytest.mark.parametrize("name", OBJECTIVES)
def test_arguments_losses_owners(name: str, untouched) -> None:
    objective, vae, x = build(name), model(), torch.randn(B, X, dtype=F64)
    for argument, value in OBJECTIVES[name].items():
        assert getattr(objective, argument) == objective.arguments()[argument] == value
    owners = objective.owners(vae)
    with untouched():
        first, terms = objective(vae, x, noise=noise(5), step=3)
    assert set(first) == set(owners)
    assert all(loss.shape == (B,) and loss.dtype == F64 and torch.isfinite(loss).all() for loss in first.values())
    assert terms.samples == objective.samples
    owned = [p for parameters in owners.values() for p in parameters]
    assert len({id(p) for p in owned}) == len(owned)
    assert {id(p) for p in owned} == {id(p) for p in [*vae.parameters(), *objective.parameters()]}
    for owner, parameters in owners.items():
        parts = torch.autograd.grad(first[owner].sum(), parameters, retain_graph=True, allow_unused=True)
        silent = ("elbo, free bits", "elbo, free bits per layer", "dip, i")
        alive = [g is not None and bool(g.abs().max() > 0) for g in parts]
        assert all(alive) or name in silent, f"{owner}: a parameter hears nothing"
    second = losses(objective, vae, x)
    assert all(torch.equal(first[owner], second[owner]) for owner in first), "the same noise, another loss"


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name not in ESTIMATORS])
def test_gradients_are_those_of_the_value(name: str) -> None:
    """Finite differences along a random direction, owner by owner: the others' parameters stand still.

    Those of estimators are held against exact gradients in tests/objectives.
    """
    objective, vae, x = build(name), model(), torch.randn(B, X, dtype=F64)
    recorded = Recorded()
    losses(objective, vae, x, recorded)
    for owner, parameters in objective.owners(vae).items():
        direction = [torch.randn_like(p) for p in parameters]
        loss = losses(objective, vae, x, recorded.again())[owner].sum()
        parts = torch.autograd.grad(loss, parameters, allow_unused=True)
        slope = sum((g * d).sum() for g, d in zip(parts, direction) if g is not None)
        values = []
        for h in (1e-6, -2e-6, 1e-6):  # forth, back, and home again
            with torch.no_grad():
                for p, d in zip(parameters, direction):
                    p += h * d
            values.append(losses(objective, vae, x, recorded.again())[owner].sum())
        assert abs(slope - (values[0] - values[1]) / 2e-6) < 1e-5 * max(1, abs(slope)), owner


@pytest.mark.parametrize("name", OBJECTIVES)
def test_rows_are_coupled_where_it_says_so(name: str) -> None:
    """Another last row moves the losses of the first rows exactly where `couples_rows` is true."""
    objective, vae, x = build(name), model(), torch.randn(B, X, dtype=F64)
    recorded = Recorded()
    first = losses(objective, vae, x, recorded)
    other = losses(objective, vae, torch.cat([x[:-1], x[-1:] + 1]), recorded.again())
    same = all(torch.allclose(first[o][:-1], other[o][:-1], rtol=1e-12, atol=1e-12) for o in first)
    assert same is not objective.couples_rows


@pytest.mark.parametrize("name", OBJECTIVES)
def test_masked_cells_never_matter(name: str) -> None:
    objective, vae, x = build(name), model(), torch.randn(B, X, dtype=F64)
    seen = torch.rand(B, X) < 0.7
    values = []
    for content in (0.0, 1e6, math.nan):
        values.append(losses(objective, vae, torch.where(seen, x, content), observed=seen))
    full = losses(objective, vae, x)
    for owner, value in values[0].items():
        assert torch.isfinite(value).all()
        assert all(torch.equal(value, v[owner]) for v in values[1:])
    assert any(not torch.equal(values[0][owner], full[owner]) for owner in full)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_conditions_are_used(name: str) -> None:
    objective, vae, x = build(name), model(condition=2), torch.randn(B, X, dtype=F64)
    a, b = (losses(objective, vae, x, condition=torch.full((B, 2), v, dtype=F64)) for v in (0.0, 1.0))
    for owner in a:
        assert (a[owner] != b[owner]).all() or owner == "critic"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_point_mass_works_or_is_refused_by_name(name: str) -> None:
    objective, vae, x = build(name), model(point=True), torch.randn(B, X, dtype=F64)
    if name in WITHOUT_DENSITY:
        assert all(torch.isfinite(v).all() for v in losses(objective, vae, x).values())
    else:
        with pytest.raises(UsageError, match="PointMass, which has no density"):
            losses(objective, vae, x)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_training_in_float32(name: str) -> None:
    """Twenty steps in the one loop: finite, no step skipped, every part moved, last batch smaller."""
    objective, vae = build(name).float(), model().float()
    before = [p.clone() for p in [*vae.parameters(), *objective.parameters()]]
    history = optimise(
        vae, objective, rows(torch.randn(23, X), dtype=torch.float32), None, Settings(epochs=7, batch_size=11)
    )
    assert history.skipped == 0
    assert math.isfinite(history.records[-1]["loss"])
    after = [*vae.parameters(), *objective.parameters()]
    assert all(p.dtype == torch.float32 and not torch.equal(p, old) for p, old in zip(after, before))


def test_the_command_line_finds_them() -> None:
    for name in known("objective"):
        made = parse("objective", name).make(latent_dim=Z, shape=(2, 4, X))
        assert isinstance(made, nn.Module)
        assert isinstance(made, Objective)
    assert parse("objective", "renyi:alpha=-inf,samples=3").make(latent_dim=Z).alpha == -math.inf
    with pytest.raises(UsageError, match="has no argument 'latent_dim'"):
        parse("objective", "factor:latent_dim=3")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_and_is_judged(name: str) -> None:
    options = {} if name == "linear" else {"hidden": "16"}
    given = {"given": {"label": "3"}} if name == "cvae" else {}
    if name == "cvae":
        options["condition"] = "label"
    if name == "not-miwae":
        options["likelihood"] = "gaussian"  # what hides itself are real numbers
    run = vaelab.train("digits", recipe=name, latent_dim=2, epochs=1, batch_size=500, progress="off", **options)
    figures = run.evaluate(samples=3)
    document = figures.json()
    if type(getattr(run.model, "posterior", None)) is posteriors.Point:
        assert document["elbo"] is document["log_evidence"] is None
        assert "no bound" in document["reason"]
    else:
        assert figures.elbo.value <= figures.log_evidence.value
    assert math.isfinite(figures.reconstruction.value)
    assert run.generate(2, **given).shape == (2, 8, 8)
