"""A model whose latents are coins: every expectation over draws is a sum over a few outcomes."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent

from oracles import F64, given
from vaelab import likelihoods
from vaelab.conditional import Conditional
from vaelab.models import VAE
from vaelab.networks import MLP
from vaelab.noise import Given

X, Z = 3, 2


class Coins(Conditional):
    """q(z | x): independent coins."""

    def __init__(self, network: nn.Module, latent_dim: int) -> None:
        super().__init__()
        self.network, self.latent_dim = network, latent_dim

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        return Independent(Bernoulli(logits=self.network(given)), 1)


class PriorCoins(Conditional):
    """p(z): independent coins, learned."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.logits = nn.Parameter(torch.linspace(-0.7, 0.9, latent_dim))

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        return Independent(Bernoulli(logits=self.logits), 1)


def coins() -> VAE:
    likelihood = likelihoods.Bernoulli(MLP(Z, X, (5,), "tanh"), (X,))
    return VAE(prior=PriorCoins(Z), posterior=Coins(MLP(X, Z, (5,), "tanh"), Z), likelihood=likelihood).double()


def outcomes(coins: int) -> Tensor:
    """Every outcome of so many coins, (2^coins, coins)."""
    return torch.tensor(list(product((0.0, 1.0), repeat=coins)), dtype=F64)


def uniforms(z: Tensor) -> Tensor:
    """Noise that makes these coins fall like this."""
    return torch.where(z > 0.5, 1e-12, 1 - 1e-12)


def enumerated(x: Tensor, samples: int) -> tuple[Tensor, Tensor, Given]:
    """Rows of x (X,), one for each outcome of `samples` draws; the draws (K, N, Z); the noise that makes them."""
    z = outcomes(samples * Z).unflatten(1, (samples, Z)).transpose(0, 1)
    return x.expand(z.shape[1], X), z, given(uniforms(z))


def gradient(value: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    parts = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    return torch.cat([torch.zeros(p.numel()) if g is None else g.flatten() for p, g in zip(parameters, parts)])
