"""What every model of several stochastic layers must do, over a table of all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import vaelab
from oracles import F64, close, dataset, noise, within
from vaelab import files, recipes
from vaelab.errors import UsageError
from vaelab.evaluation import evaluate_model
from vaelab.models import Chain, TopDown
from vaelab.noise import Given
from vaelab.objectives import elbo
from vaelab.parts import registry
from vaelab.training import Rows
from vaelab.use import encode, score

K, B = 3, 5

# name -> (recipe, shape of x, latent_dim, keywords). A new model of layers is one line.
MODELS: dict[str, tuple[str, tuple[int, ...], Any, dict[str, Any]]] = {
    "hierarchical": ("hierarchical", (7,), (3, 2), {"likelihood": "gaussian"}),
    "hierarchical, three": ("hierarchical", (7,), (4, 3, 2), {"likelihood": "gaussian", "posterior": "full-gaussian"}),
    "ladder": ("ladder", (7,), (4, 3, 2), {"likelihood": "gaussian"}),
    "ladder, linear": ("ladder", (7,), (3, 2), {"likelihood": "gaussian", "hidden": ()}),
    "very-deep": ("very-deep", (2, 7, 5), (1, 2), {"likelihood": "gaussian:scale=network", "hidden": (3,)}),
}


def build(name: str) -> tuple[Any, Tensor]:
    recipe, shape, dims, how = MODELS[name]
    model, _ = recipes.find(recipe)(shape, dims, **{"hidden": (11,), **how})
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():  # away from the small weights of the start
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model, torch.randn(B, *shape, dtype=F64)


@pytest.fixture(params=MODELS)
def case(request: pytest.FixtureRequest) -> tuple[Any, Tensor]:
    return build(request.param)


def test_the_table_names_every_recipe_of_layers() -> None:
    assert {row[0] for row in MODELS.values()} == {n for n, r in recipes.RECIPES.items() if r.layers is None}


def test_the_weight_is_joint_over_variational_density(case: tuple[Any, Tensor]) -> None:
    """E_q[log w] = E_q[log p(x | z) - sum of the KLs], each KL by its form, to five standard errors."""
    model, x = case
    with torch.no_grad():
        t = model.terms(x, samples=4001, noise=noise())
    within(t.log_qz - t.log_pz - t.kl_total, np.zeros(B))
    assert [v.shape[-1] for v in t.kl.values()] in (model.sizes, [1] * len(model.sizes))  # one where q is full
    assert list(t.z) == [f"z{i}" for i in range(1, len(model.sizes) + 1)]


def test_places_decode_to_what_the_draws_decoded_to(case: tuple[Any, Tensor]) -> None:
    model, x = case
    t = model.terms(x, samples=K, noise=noise())
    z = torch.cat([*t.z.values()], -1)
    assert z.shape == (K, B, model.latent_dim)
    close(model.decode(z).mean, t.px.mean)
    close(model.decode(z[0]).mean, t.px.mean[0])


def test_the_gradient_is_that_of_finite_differences(case: tuple[Any, Tensor]) -> None:
    model, x = case
    eps = [torch.randn(K, B, size, dtype=F64) for size in model.sizes]
    eps = eps if isinstance(model, Chain) else eps[::-1]
    parameters = list(model.parameters())

    def bound() -> Tensor:
        return elbo(model.terms(x, samples=K, noise=Given(eps))).sum()

    gradients = torch.autograd.grad(bound(), parameters)
    for parameter, gradient in zip(parameters[::3], gradients[::3]):
        along, h = torch.randn_like(parameter), 1e-5
        with torch.no_grad():
            parameter.add_(h * along)
            up = bound()
            parameter.sub_(2 * h * along)
            down = bound()
            parameter.add_(h * along)
        close((gradient * along).sum(), (up - down) / (2 * h), rel=1e-5, floor=1e-6)


def test_a_row_depends_on_no_other_row(case: tuple[Any, Tensor]) -> None:
    model, x = case
    data = dataset(x)
    alone, together = data.take([3]), data.take([4, 3, 1])
    close(score(model, alone, samples=7)[0], score(model, together, samples=7)[1])
    close(encode(model, alone).mean[0], encode(model, together).mean[1])
    assert encode(model, data).deviation.shape == (B, model.latent_dim)


def test_entries_that_were_not_observed_never_matter(case: tuple[Any, Tensor]) -> None:
    model, x = case
    observed = torch.rand(x.shape) < 0.6
    other = torch.where(observed, x, torch.full_like(x, 1e3))
    a, b = (model.terms(v, samples=K, observed=observed, noise=noise()) for v in (x, other))
    close(a.log_w, b.log_w)


def test_temperature_nought_and_means_leave_no_noise(case: tuple[Any, Tensor]) -> None:
    model, _ = case
    x = model.generate(B, temperature=0, means=True, noise=noise())
    close(x, x[:1].expand_as(x))
    assert model.generate(B, noise=noise(1)).std(0).min() > 0


def test_evaluation_speaks_of_each_layer(case: tuple[Any, Tensor]) -> None:
    model, x = case
    judged = evaluate_model(model, Rows(dataset(x), dtype=F64), samples=130)
    assert judged.layers is not None
    assert judged.kl is not None
    assert [layer.size for layer in judged.layers] == model.sizes
    if all(layer.kl is not None for layer in judged.layers):
        close(sum(layer.kl or 0.0 for layer in judged.layers), judged.kl.value)
    assert sum(layer.active_units for layer in judged.layers) == judged.active_units
    assert (judged.marginal_kl is None) == isinstance(model, Chain)
    assert judged.kl_form == ("closed" if isinstance(model, TopDown) else "sampled")


def test_saved_and_loaded_it_is_the_same(case: tuple[Any, Tensor], tmp_path: Path) -> None:
    model, x = case
    files.save(tmp_path / "m", {"model": model}, {}, registry=registry())
    again = files.load(tmp_path / "m", registry=registry())[0]["model"]
    assert torch.equal(again.double().terms(x, noise=noise()).log_w, model.terms(x, noise=noise()).log_w)


def test_what_layers_cannot_do_is_refused() -> None:
    model, x = build("ladder")
    with pytest.raises(UsageError, match="TopDown: gradient 'stopped' is for one stochastic layer"):
        model.terms(x, gradient="stopped")
    with pytest.raises(UsageError, match="recipe vae has one stochastic layer, got latent_dim"):
        recipes.find("vae")((7,), (3, 2))
    with pytest.raises(UsageError, match="very-deep is for images"):
        recipes.find("very-deep")((7,), 2)
    with pytest.raises(UsageError, match="--posterior cannot change it"):
        recipes.find("ladder")((7,), 2, posterior="point")
    with pytest.raises(UsageError, match="2 posteriors need 1 links, got 0"):
        Chain(
            prior=model.levels[-1].given_above, posteriors=[model.likelihood] * 2, links=[], likelihood=model.likelihood
        )
    with pytest.raises(UsageError, match="needs one encoder for each level, got 0 and 3"):
        TopDown(encoders=[], levels=model.levels, likelihood=model.likelihood)
    with pytest.raises(UsageError, match="latent_dim is '7,x': expected a number"):
        vaelab.plan_run("digits", recipe="ladder", latent_dim="7,x")


def test_layers_from_the_command_line_on(tmp_path: Path) -> None:
    """train with a size for each layer, then every verb from the folder."""
    run = vaelab.train("digits", recipe="ladder", latent_dim="5,3", hidden="16", epochs=1, progress="off")
    assert run.model.sizes == [5, 3]
    again = vaelab.load(run.save(tmp_path / "m.safetensors"))
    digits = run.data()[0].take(range(7))
    codes = again.encode(digits)
    assert codes.mean.shape == (7, 8)
    assert again.interpolate(codes.mean[:2], steps=3).shape == (4, 8, 8)
    assert torch.equal(again.generate(2), run.generate(2))
    assert (
        "layer"
        not in vaelab.train("digits", latent_dim=2, hidden="8", epochs=1, progress="off")
        .evaluate(digits, samples=5)
        .json()
    )
    assert again.evaluate(digits, samples=5).json()["layers"][1]["name"] == "z2"
    assert run.report(tmp_path / "r.html").stat().st_size > 10_000
