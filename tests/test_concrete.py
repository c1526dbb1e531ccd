"""The Concrete distribution: its integral, its draws, the evidence of a model with one relaxed variable."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from oracles import F64, close, noise, tensor, within
from vaelab import likelihoods, posteriors, priors
from vaelab.distributions import Concrete, draw
from vaelab.errors import UsageError
from vaelab.models import VAE
from vaelab.networks import MLP, Linear
from vaelab.objectives import ELBO


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_density_integrates_to_one(temperature: float) -> None:
    """Over log-ratios y_k = log z_k / z_C, where dz = z_1 ... z_C dy: two categories and three, and two variables."""
    axis = torch.linspace(-80, 80, 16_001, dtype=F64)
    z = torch.stack([axis.sigmoid(), (-axis).sigmoid()], -1)
    q = Concrete(tensor([[1.3, -0.4]]), temperature)
    close((q.log_prob(z) + z.log().sum(-1)).exp().sum() * (axis[1] - axis[0]), 1.0)
    axis = torch.linspace(-60, 60, 801, dtype=F64)
    y = torch.cartesian_prod(axis, axis)
    z = torch.cat([y, torch.zeros(len(y), 1, dtype=F64)], -1).softmax(-1)
    logits = tensor([[0.5, -1.0, 0.2]])
    log_f = Concrete(logits, temperature).log_prob(z)
    close((log_f + z.log().sum(-1)).exp().sum() * (axis[1] - axis[0]) ** 2, 1.0, rel=1e-6)
    both = Concrete(torch.cat([logits, logits]), temperature).log_prob(torch.cat([z, z.flip(0)], -1))
    close(both, log_f + log_f.flip(0))


def test_density_is_that_of_torch() -> None:
    logits, z = torch.randn(5, 1, 4, dtype=F64), torch.rand(3, 5, 4, dtype=F64).softmax(-1)
    other = torch.distributions.RelaxedOneHotCategorical(tensor(0.7), logits=logits[:, 0])
    close(Concrete(logits, 0.7).log_prob(z), other.log_prob(z), rel=1e-9)


def test_draws_have_the_law() -> None:
    """Of two categories, t logit z is logistic about the difference of logits; argmax has the categories' masses."""
    n = 20_011
    q = Concrete(tensor([[[1.3, -0.4]]]), 0.6)
    z = draw(q, n, noise(2))[:, 0]
    assert stats.ks_1samp(0.6 * torch.logit(z[:, 0]).numpy(), stats.logistic(1.7).cdf).pvalue > 5.7e-7
    logits = torch.randn(1, 2, 3, dtype=F64)
    z = draw(Concrete(logits, 0.6), n, noise(3))[:, 0].unflatten(-1, (2, 3))
    close(z.sum(-1), np.ones((n, 2)))
    share = torch.nn.functional.one_hot(z.argmax(-1), 3).double()
    within(share, logits[0].softmax(-1))


def model() -> VAE:
    q = posteriors.Concrete(MLP(5, 2, (11,), "tanh"), 2)
    likelihood = likelihoods.Gaussian(MLP(2, 5, (11,), "tanh"), (5,), scale=0.8)
    return VAE(prior=priors.Concrete(q), posterior=q, likelihood=likelihood).double()


def test_the_weights_average_to_the_evidence() -> None:
    m, x = model(), torch.randn(3, 5, dtype=F64)
    axis = torch.linspace(-120, 120, 24_001, dtype=F64)
    z = torch.stack([axis.sigmoid(), (-axis).sigmoid()], -1)[:, None].expand(-1, 3, -1)
    with torch.no_grad():
        log_joint = m.decode(z).log_prob(x) + m.prior().log_prob(z) + z.log().sum(-1)
        evidence = log_joint.logsumexp(0) + math.log(axis[1] - axis[0])
        within((m.terms(x, samples=20_011, noise=noise(2)).log_w - evidence).exp(), np.ones(3))


def test_extreme_logits_stay_finite_and_other_priors_are_refused() -> None:
    part = posteriors.Concrete(Linear(1, 4), 4, categories=2, temperature=0.5)
    with torch.no_grad():
        part.network.map.bias.copy_(torch.tensor([1e6, -1e6, 0.0, 1e4]))
    q = part(torch.zeros(3, 1))
    z = draw(q, 1000, noise())
    assert torch.isfinite(q.log_prob(z)).all()
    assert torch.isfinite(torch.autograd.grad(q.log_prob(z).sum(), part.network.map.bias)[0]).all()
    m, x = model(), torch.randn(3, 5, dtype=F64)
    mixed = VAE(prior=priors.Gaussian(2), posterior=m.posterior, likelihood=m.likelihood).double()
    with pytest.raises(UsageError, match="their densities are of different kinds"):
        ELBO()(mixed, x, noise=noise(), step=0)
    with pytest.raises(UsageError, match="needs the posterior 'concrete', got a Gaussian"):
        priors.Concrete(posteriors.Gaussian(Linear(1, 4), 2))
    with pytest.raises(UsageError, match="temperature must be above 0"):
        priors.Concrete(m.posterior, temperature=0.0)
    for wrong in ({"categories": 3}, {"categories": 1}, {"temperature": 0.0}):
        with pytest.raises(UsageError, match="divides latent_dim"):
            posteriors.Concrete(Linear(1, 4), 4, **wrong)
