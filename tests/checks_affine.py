"""Exact checks of the matrix products."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from exact import check, close, normal, real_data
from vaelab import recipes
from vaelab.networks import Linear, affine
from vaelab.noise import Noise
from vaelab.training import Rows, Settings, optimise
from vaelab.training.step import differentiate
from vaelab.training.stepper import Stepper


@check
def both_matrix_libraries_give_the_same_products() -> None:
    """By oneDNN, as on AMD's processors, whatever this one is: values, slopes and slopes of slopes against float64."""
    truth = normal(3, 11, 5), normal(7, 5, seed=1), normal(7, seed=2)
    wide, narrow = ([t.to(kind, copy=True).requires_grad_() for t in truth] for kind in (torch.float64, torch.float32))
    before = affine.ONEDNN, affine.WORTH, affine._Product.apply
    calls: list[int] = []
    affine._Product.apply = lambda *given: calls.append(1) or before[2](*given)  # type: ignore[method-assign]
    affine.ONEDNN, affine.WORTH = True, 0
    try:
        made = slopes(affine.affine, narrow)
    finally:
        affine.ONEDNN, affine.WORTH, affine._Product.apply = before  # type: ignore[method-assign]
    assert calls, "oneDNN was not asked"
    for exact, value in zip(slopes(linear, wide), made):
        assert value.shape == exact.shape
        error = ((value - exact).abs().max() / exact.abs().max()).item()
        assert error < 2e-6, f"off by {error:.2g} (relative)"


def slopes(product: Callable[..., Tensor], given: Sequence[Tensor]) -> list[Tensor]:
    """Return x W' + b, its slopes, and the slopes of those."""
    y = product(*given)
    first = torch.autograd.grad(y.sin().sum(), given, create_graph=True)
    return [y, *first, *torch.autograd.grad(torch.stack([g.square().sum() for g in first]).sum(), given)]


@check
def sixteen_bits_are_of_products_in_training_alone() -> None:
    """Rounded numbers multiplied, to half a unit of the eighth bit; laws in full; slopes nearly so; no trace in use."""
    torch.manual_seed(0)
    model, objective = recipes.vae((6,), 3, likelihood="gaussian", hidden=(32,))
    last = model.likelihood.network = Linear(3, model.likelihood.outputs((6,)))
    train = Rows(real_data(normal(40, 6)))
    stepper = Stepper(model, objective, train, Settings(precision="bfloat16"))
    z, batch = normal(50, 3).float(), train.first(40).at(slice(None))
    assert model.eval().likelihood.parameters_at(z, None).equal(last(z)), "not in full when in use"
    model.train()
    made, (a, weight, bias) = (
        model.likelihood.parameters_at(z, None),
        (t.bfloat16().double() for t in (z, *last.map.parameters())),
    )
    truth = linear(a, weight, bias)
    assert made.dtype == torch.float32
    assert made.equal(made.bfloat16().float()), "not in 16 bits"
    assert ((made.reshape(truth.shape) - truth).abs() <= 2**-8 * truth.abs() + 1e-6).all(), "other products"
    terms = model.terms(batch.x, noise=Noise.seeded(0))
    law, q = terms.px.base_dist, terms.q.base_dist
    exact = torch.distributions.Normal(law.loc.double(), law.scale.double()).log_prob(batch.x.double()).sum(-1)
    close(terms.log_px[0].detach(), exact.detach().reshape(40), 1e-6, "log p(x | z)")
    mean, variance = q.loc.double(), q.scale.double().square()
    close(
        terms.kl_total.detach().squeeze(0),
        (0.5 * (mean.square() + variance - variance.log() - 1)).sum(-1).detach(),
        1e-6,
        "KL",
    )

    def slope(name: str) -> Tensor:
        stepper.precision(name)
        made = differentiate(model, objective, stepper.owned, batch, Noise.seeded(0), 0)
        return torch.cat([g.flatten() for grads in made.gradients.values() for g in grads if g is not None])

    full = slope("full")
    error = ((slope("bfloat16") - full).norm() / full.norm()).item()
    assert 1e-5 < error < 0.01, f"slopes off by {error:.2g} (relative)"
    optimise(model, objective, train, None, Settings(precision="bfloat16", epochs=1))
    assert model.train().likelihood.parameters_at(z, None).equal(last(z)), "not in full after training"
