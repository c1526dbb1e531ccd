"""A conditional VAE is the VAE whose networks read the condition beside their input."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from oracles import F64, close, given, noise, rows
from vaelab import fit, likelihoods, posteriors, priors
from vaelab.data import open_source
from vaelab.evaluation import evidence_rows
from vaelab.models import VAE
from vaelab.networks import MLP, Linear, OneHot
from vaelab.objectives import ELBO, IWAE
from vaelab.training import Settings, optimise, validation_bound

K, B, X, Z, C = 2, 7, 5, 3, 11


class Beside(nn.Module):
    """A network that is handed its condition by hand: appended to its input, spread over the draws."""

    def __init__(self, network: nn.Module, condition: Tensor) -> None:
        super().__init__()
        self.network, self.condition = network, condition

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 3:
            return self.network(torch.stack([torch.cat([each, self.condition], 1) for each in x]))
        return self.network(torch.cat([x, self.condition], 1))


def network(kind: str, inputs: int, outputs, condition: int) -> nn.Module:
    if kind == "linear":
        return Linear(inputs, outputs, condition=condition)
    return MLP(inputs, outputs, (13, 17), "tanh", condition=condition)


def pair(kind: str) -> tuple[VAE, VAE, Tensor, Tensor]:
    """The conditional model, and one without conditions whose plain networks hold the same weights."""
    condition, x = torch.randn(B, C, dtype=F64), torch.randn(B, X, dtype=F64)
    made = network(kind, X, 2 * Z, C), network(kind, Z, (2, X), C)
    plain = network(kind, X + C, 2 * Z, 0), network(kind, Z + C, (2, X), 0)
    for a, b in zip(made, plain):
        b.load_state_dict(a.state_dict())

    def vae(encoder: nn.Module, decoder: nn.Module) -> VAE:
        likelihood = likelihoods.Gaussian(decoder, (X,), scale="network")
        return VAE(prior=priors.Gaussian(Z), posterior=posteriors.Gaussian(encoder, Z), likelihood=likelihood).double()

    return vae(*made), vae(*[Beside(n, condition) for n in plain]), x, condition


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_terms_and_losses_equal_those_with_the_condition_beside_the_input(kind: str) -> None:
    model, by_hand, x, condition = pair(kind)
    eps = torch.randn(K, B, Z, dtype=F64)
    a = model.terms(x, samples=K, condition=condition, noise=given(eps))
    b = by_hand.terms(x, samples=K, noise=given(eps))
    for name in ("z", "log_px", "log_pz", "log_qz", "log_w", "kl_total"):
        close(getattr(a, name), getattr(b, name))
    for objective in (ELBO(samples=K), IWAE(K)):
        one, _ = objective(model, x, noise=given(eps), step=0, condition=condition)
        other, _ = objective(by_hand, x, noise=given(eps), step=0)
        close(one["model"], other["model"])
    close(
        model.generate(B, condition=condition, noise=noise(3)),
        by_hand.generate(B, noise=noise(3)),
    )


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_the_condition_belongs_to_its_row(kind: str) -> None:
    model, _, x, condition = pair(kind)
    eps = torch.randn(K, B, Z, dtype=F64)
    whole = model.terms(x, samples=K, condition=condition, noise=given(eps)).log_w
    order = torch.randperm(B)
    moved = model.terms(x[order], samples=K, condition=condition[order], noise=given(eps[:, order])).log_w
    close(moved, whole[:, order])
    assert (model.terms(x, samples=K, condition=condition[order], noise=given(eps)).log_w - whole).abs().max() > 0.01


def test_conditions_go_through_evaluation_and_training() -> None:
    model, _, x, condition = pair("mlp")
    some = rows(x, condition=condition.numpy())
    values = evidence_rows(model, some, samples=3)
    first = rows(
        x[:1], condition=condition[:1].numpy()
    )  # noise belongs to the row's place: the first one keeps its own
    close(evidence_rows(model, first, samples=3).evidence, values.evidence[:1])
    shared = evidence_rows(model, some, samples=3, shared=True)
    for b in range(B):
        alone = rows(x[[b]], condition=condition[[b]].numpy())
        close(evidence_rows(model, alone, samples=3, shared=True).evidence, shared.evidence[b : b + 1])
    before = validation_bound(model, some)[0]
    optimise(model, ELBO(), some, None, Settings(epochs=200, batch_size=3, lr=0.01))
    assert validation_bound(model, some)[0] > before


def test_images_and_categories_are_read_as_they_say() -> None:
    x = torch.randint(3, (B, 1, 2, 5)).double()
    read = OneHot(Linear((1, 2, 5, 3), 7), 3).double()
    unit = torch.zeros(B, 30, dtype=F64)
    for b in range(B):
        for i, category in enumerate(x[b].flatten().int().tolist()):
            unit[b, 3 * i + category] = 1
    close(read(x), nn.functional.linear(unit, read.network.map.weight, read.network.map.bias))
    wide = MLP((1, 2, 5), (2, 3), (7,)).double()
    assert wide(torch.zeros(K, B, 1, 2, 5, dtype=F64)).shape == (K, B, 2, 3)


def test_a_conditional_model_is_trained_and_judged_with_its_conditions() -> None:
    """x = c + noise: given c, the best mean log-density is that of the noise; without it, that of c + noise."""
    c = torch.randn(400, 1, dtype=F64)
    x = c + 0.1 * torch.randn(400, 1, dtype=F64)
    data = replace(open_source(x.numpy()), condition=c)
    told = VAE(
        prior=priors.Gaussian(1),
        posterior=posteriors.Gaussian(Linear(1, 2, condition=1), 1),
        likelihood=likelihoods.Gaussian(Linear(1, 1, condition=1), (1,)),
    )
    run = fit(told, data, epochs=150, validation=0, progress="off", lr=0.02)
    judged = run.evaluate(data, samples=50)
    assert judged.elbo is not None
    noise = -0.5 * math.log(2 * math.pi * math.e * 0.1**2)
    assert abs(judged.elbo.value - noise) < 5 * judged.elbo.se + 0.05
