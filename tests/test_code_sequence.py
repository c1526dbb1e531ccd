"""The autoregressive prior over codes, by enumeration of every sequence."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from oracles import close, dataset, noise
from vaelab import likelihoods, posteriors, priors
from vaelab.distributions import draw
from vaelab.errors import UsageError
from vaelab.models import VAE
from vaelab.networks import MLP, Linear
from vaelab.use.refit import codes_of, log_prior, refit

X, G, W, C = 7, 3, 2, 5


def quantiser() -> posteriors.Nearest:
    return posteriors.Nearest(MLP(X, G * W, (11,), "tanh"), G * W, codes=C, width=W).double()


def prior(q: posteriors.Nearest) -> priors.CodeSequence:
    part = priors.CodeSequence(q, hidden=13).double()
    with torch.no_grad():
        for parameter in part.network.parameters():
            parameter.mul_(3)
    return part


def sequences(q: posteriors.Nearest) -> torch.Tensor:
    """Every sequence of codes, (C^G, G W)."""
    return q.codebook[torch.tensor(list(itertools.product(range(C), repeat=G)))].flatten(-2)


def test_masses_of_all_sequences_sum_to_one_and_follow_the_chain_rule() -> None:
    q = quantiser()
    p = prior(q)()
    z = sequences(q)
    mass = p.log_prob(z).detach().exp()
    close(mass.sum(), 1.0)
    assert mass.max() > 5 * mass.min(), "nearly uniform: this shows nothing"
    # p(k_1): a sum over what follows; p(k_2 | k_1): a ratio of sums. Both are what the network says of the place.
    by_place = mass.reshape(C, C, C)
    close(by_place.sum((1, 2)), p.logits(z[:1])[0, 0].softmax(-1))
    second = by_place.sum(2) / by_place.sum((1, 2))[:, None]
    close(second, p.logits(z[:: C * C])[:, 1].softmax(-1))
    assert torch.isinf(p.log_prob(z[0] + 0.01))


def test_draws_have_these_masses() -> None:
    q = quantiser()
    p = prior(q)()
    z, n = sequences(q), 20_011
    drawn = draw(p, n, noise(3)).detach()
    which = (drawn.unsqueeze(1) == z).all(-1).double()
    assert (which.sum(1) == 1).all()
    expected = n * p.log_prob(z).detach().exp().numpy()
    often = expected > 5
    seen = np.append(which.sum(0).numpy()[often], which.sum(0).numpy()[~often].sum())
    assert stats.chisquare(seen, np.append(expected[often], expected[~often].sum())).pvalue > 5.7e-7


def test_refit_learns_which_codes_go_together() -> None:
    """Codes of the rows repeat few sequences: the fitted masses come near the counts, far above the uniform ones."""
    torch.manual_seed(3)
    q = quantiser().float()
    x = torch.randn(401, X)
    q.start(x, len(x))
    model = VAE(prior=priors.Codes(q), posterior=q, likelihood=likelihoods.Gaussian(Linear(G * W, X), (X,), scale=1.0))
    data = dataset(x)
    new = refit(model, data, priors.CodeSequence(q, hidden=32), steps=400)
    assert new.prior.posterior is new.posterior
    assert torch.equal(new.posterior.codebook, q.codebook)
    z = codes_of(model, data)[0]
    counts = torch.unique(z, dim=0, return_counts=True)[1].double()
    best = (counts * (counts / counts.sum()).log()).sum() / counts.sum()  # no prior gives these codes more
    uniform, fitted = log_prior(model, data), log_prior(new, data)
    assert uniform == pytest.approx(-G * np.log(C), rel=1e-6)
    assert uniform < fitted <= best.item() + 1e-6
    assert best - fitted < 0.6 * (best - uniform)


def test_what_it_cannot_share_is_refused() -> None:
    with pytest.raises(UsageError, match="needs the posterior 'nearest' or 'residual-nearest', got a Gaussian"):
        priors.CodeSequence(posteriors.Gaussian(Linear(X, 4), 2))
    with pytest.raises(UsageError, match="hidden must be at least 1"):
        priors.CodeSequence(quantiser(), hidden=0)
