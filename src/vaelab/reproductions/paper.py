"""The networks and the data of Kingma & Welling 2013, as its section 5 and its appendix C have them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from .. import likelihoods, networks, posteriors, priors, recipes
from ..data import Dataset, open_source
from ..models import VAE
from ..objectives import ELBO, Objective, WakeSleep
from ..training import Rows, Settings
from .unit import Build

# of the initial weights and biases, section 5: "N(0, 0.01)", read as N(mean, variance), like the paper's other normals.
# If it were the deviation, wake-sleep of the faces would stay for a million samples at a decoder that ignores z.
DEVIATION = 0.1
RATES = (0.01, 0.02, 0.1)  # of Adagrad, one of which the first steps choose
METHODS: dict[str, Callable[[], Objective]] = {"aevb": ELBO, "wake-sleep": WakeSleep}
TRAIN, FREY_TRAIN = 50_000, 1600  # MNIST rows, as figure 3 has them; Frey faces, the other 365 are test rows


class SigmoidMean(nn.Module):
    """(mu, log sigma) of a network, mu through a sigmoid: the means of grey values lie in (0, 1) (section 5)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> Tensor:
        """Return (*lead, 2, *shape) for z (*lead, Z)."""
        out: Tensor = self.network(z)
        two = z.ndim - 1 - out.ndim  # the dimension behind the leading ones
        mean, log_scale = out.unbind(two)
        return torch.stack([mean.sigmoid(), log_scale], two)


def model(shape: tuple[int, ...], latents: int, hidden: int, *, binary: bool) -> VAE:
    """One layer of tanh units each way; p(x | z) Bernoulli, or Gaussian with a variance of its own for each entry."""
    encoder = networks.MLP(shape, 2 * latents, (hidden,), "tanh")
    outputs: Any = shape if binary else (2, *shape)
    decoder = networks.MLP(latents, outputs, (hidden,), "tanh")
    for parameter in [*encoder.parameters(), *decoder.parameters()]:
        nn.init.normal_(parameter, std=DEVIATION)
    px = likelihoods.Bernoulli(decoder, shape, centred=False) if binary else None
    return VAE(
        prior=priors.Gaussian(latents),
        posterior=posteriors.Gaussian(encoder, latents),
        likelihood=px or likelihoods.Gaussian(SigmoidMean(decoder), shape, scale="network"),
    )


def as_published(objective: Callable[[], Objective], latents: int, hidden: int, *, binary: bool) -> Build:
    """Return build(rows) with the paper's settings: Adagrad, batches of 100, L = 1, the prior N(0, I) on weights."""

    def build(train: Rows) -> tuple[nn.Module, Objective, Settings]:
        prior = 1 / len(train)
        # not compiled: a curve that goes on is then one that never ended, to the last bit
        settings = Settings(
            optimiser="adagrad", decay="none", lr_warmup=0, weight_decay=prior, average=False, compile="off"
        )
        return model(tuple(train.data.shape[1:]), latents, hidden, binary=binary), objective(), settings

    return build


def as_today(latents: int, hidden: int, *, binary: bool) -> Build:
    """Return build(rows) with the defaults of `vaelab train`: rectifiers, Adam, a rate that falls to 0."""
    likelihood = "bernoulli" if binary else "gaussian:scale=network"

    def build(train: Rows) -> tuple[nn.Module, Objective, Settings]:
        made, objective = recipes.vae(tuple(train.data.shape[1:]), latents, hidden=(hidden,), likelihood=likelihood)
        return made, objective, Settings()

    return build


@cache
def mnist(train: int = TRAIN) -> tuple[Rows, Rows]:
    """Return training and test rows of MNIST, grey values as real numbers in [0, 1]."""
    data = open_source("mnist", binarize="none")
    assert data.test is not None
    return Rows(data).first(train), Rows(data.test)


@cache
def frey_faces(train: int = FREY_TRAIN) -> tuple[Rows, Rows]:
    """Return training rows and the others of the 1,965 Frey faces, split at random, grey values in [0, 1]."""
    data: Dataset = open_source("frey-faces", binarize="none")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()
    return Rows(data.take(order[:FREY_TRAIN])).first(train), Rows(data.take(order[FREY_TRAIN:]))
