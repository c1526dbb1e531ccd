"""The quantiser in levels by brute force: residuals, codes, masses, gradients, running means, the evidence."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from oracles import F64, close, noise, tensor
from vaelab import likelihoods, posteriors, priors
from vaelab.distributions import draw
from vaelab.errors import UsageError
from vaelab.models import VAE
from vaelab.networks import MLP, Linear
from vaelab.objectives import Quantised, elbo, iwae

B, X, C, D, W = 7, 5, 4, 3, 2
Z = D * W


def model(ema: float = 0.9, sequence: bool = False, revive: float = 0.0) -> VAE:
    q = posteriors.ResidualNearest(MLP(X, W, (11,), "tanh"), Z, codes=C, depth=D, ema=ema, revive=revive)
    px = likelihoods.Gaussian(MLP(Z, X, (11,), "tanh"), (X,), scale=0.7)
    prior = priors.CodeSequence(q, hidden=11) if sequence else priors.Codes(q, learned=True)
    made = VAE(prior=prior, posterior=q, likelihood=px).double()
    if not sequence:
        torch.nn.init.normal_(made.prior.logits)
    return made


def levels_by_hand(encoded: np.ndarray, book: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes (N, D) and the residual before each level (N, D, W)."""
    index, left = np.zeros((len(encoded), D), int), np.zeros((len(encoded), D, W))
    for n, r in enumerate(encoded.copy()):
        for d in range(D):
            left[n, d] = r
            index[n, d] = min(range(C), key=lambda c: ((r - book[d, c]) ** 2).sum())
            r = r - book[d, index[n, d]]
    return index, left


def test_each_level_codes_what_the_one_before_left() -> None:
    m, x = model(), torch.randn(B, X, dtype=F64)
    book, encoded = m.posterior.codebook.numpy(), m.posterior.network(x).detach().numpy()
    index, left = levels_by_hand(encoded, book)
    q = m.posterior(x)
    assert (q.index.numpy() == index).all()
    assert len(np.unique(index, axis=0)) > 2
    close(q.encoded, left.reshape(B, Z))
    pieces = draw(q, 2, noise())[1].unflatten(-1, (D, W))
    close(pieces, book[np.arange(D), index])
    # the sum of the codes is the encoding less what the last level leaves
    last = left[:, -1] - book[-1, index[:, -1]]
    close(pieces.sum(-2), encoded - last)


@pytest.mark.parametrize("sequence", [False, True])
def test_the_bound_is_one_term_of_the_enumerated_evidence(sequence: bool) -> None:
    """p(x) = sum over all C^D sequences of levels of p(k) p(x | k); masses by the chain rule sum to one."""
    m, x = model(sequence=sequence), torch.randn(B, X, dtype=F64)
    every = np.array(list(itertools.product(range(C), repeat=D)))
    z = tensor(m.posterior.codebook.numpy()[np.arange(D), every].reshape(-1, Z))
    log_mass = m.prior().log_prob(z).detach().numpy()
    assert logsumexp(log_mass) == pytest.approx(0, abs=1e-10)
    if not sequence:
        single = m.prior.logits.log_softmax(-1).detach().numpy()
        close(log_mass, single[np.arange(D), every].sum(1))
    mean = m.decode(z).mean.detach().numpy()
    joint = log_mass[:, None] + norm(mean[:, None], 0.7).logpdf(x.numpy()).sum(-1)
    terms = m.terms(x, samples=3, noise=noise())
    number = (terms.q.index.numpy() * C ** np.arange(D)[::-1]).sum(1)
    own = joint[number, np.arange(B)]
    close(terms.log_w, np.tile(own, (3, 1)))
    close(elbo(terms), own)
    close(iwae(terms), own)
    assert (own < logsumexp(joint, axis=0)).all()
    # draws are sequences of the levels' own codes, with their masses
    n = 20_011
    drawn = draw(m.prior().expand((n,)), 1, noise())[0].unflatten(-1, (D, 1, W))
    found = (drawn == m.posterior.codebook).all(-1)
    assert (found.sum(-1) == 1).all()
    share = np.bincount((found.long().argmax(-1).numpy() * C ** np.arange(D)[::-1]).sum(1), minlength=C**D) / n
    mass = np.exp(log_mass)
    assert (np.abs(share - mass) < 5 * np.sqrt(mass * (1 - mass) / n) + 5 / n).all()


@pytest.mark.parametrize("ema", [0.9, 0.0])
def test_objective_and_gradients_by_hand(ema: float) -> None:
    """A decoder that reads the sum of the codes passes its gradient at the sum straight to the encoding."""
    m, x = model(ema), torch.randn(B, X, dtype=F64)
    m.likelihood.network = Linear(Z, X).double()
    shared = torch.randn(X, W, dtype=F64)
    m.likelihood.network.map.weight.data = shared.repeat(1, D)
    encoded = m.posterior.network(x).detach().requires_grad_()
    q = m.posterior

    class Fixed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return encoded

    network, q.network = q.network, Fixed()
    losses, terms = Quantised(commitment=0.3)(m, x, noise=noise(), step=0)
    q.network = network
    distance = (terms.q.encoded - terms.q.value).square().sum(1)
    close(losses["model"], -elbo(terms) + (0.3 + (ema == 0)) * distance)
    wanted = [encoded] + ([q.codebook] if ema == 0 else [])
    got = torch.autograd.grad(losses["model"].sum(), wanted)
    total = terms.q.value.detach().unflatten(-1, (D, W)).sum(-2)
    mean = total @ shared.T + m.likelihood.network.map.bias
    slope = -((x - mean) / 0.7**2) @ shared
    left = (terms.q.encoded - terms.q.value).detach().unflatten(-1, (D, W))
    close(got[0], slope + 2 * 0.3 * left.sum(-2))
    if ema == 0:
        pull = np.zeros((D, C, W))
        for b, d in itertools.product(range(B), range(D)):
            pull[d, terms.q.index[b, d]] -= 2 * left[b, d].numpy()
        close(got[1], pull)


def test_running_means_by_hand() -> None:
    m = model(ema=0.9)
    part, x = m.posterior, torch.randn(3, B, X, dtype=F64)
    count, book = np.ones((D, C)), part.codebook.numpy().copy()
    total = book.copy()
    for t in range(3):
        terms = m.terms(x[t], noise=noise())
        index, left = levels_by_hand(part.network(x[t]).detach().numpy(), book)
        for d, c in itertools.product(range(D), range(C)):
            mine = left[index[:, d] == c, d]
            count[d, c] = 0.9 * count[d, c] + 0.1 * len(mine)
            total[d, c] = 0.9 * total[d, c] + 0.1 * mine.sum(0)
            book[d, c] = total[d, c] / count[d, c]
        part.update(terms)
        close(part.codebook, book)
        close(part.count, count)


def test_each_level_starts_on_what_is_left_and_makes_it_smaller() -> None:
    m, x = model(), torch.randn(200, X, dtype=F64)
    m.posterior.start(x, 200)
    book = m.posterior.codebook.numpy()
    encoded = m.posterior.network(x).detach().numpy()
    close(book[0], encoded[[0, 50, 100, 150]])
    _, left = levels_by_hand(encoded, book)
    close(book[1], left[[0, 50, 100, 150], 1])
    for _ in range(30):
        m.posterior.update(m.terms(x, noise=noise()))
    q = m.posterior(x)
    error = [(q.encoded.unflatten(-1, (D, W))[:, d] ** 2).sum(-1).mean().item() for d in range(D)]
    error.append((q.encoded - q.value).unflatten(-1, (D, W))[:, -1].square().sum(-1).mean().item())
    assert all(after < 0.7 * before for before, after in itertools.pairwise(error)), error


def test_depth_follows_the_size_and_nonsense_is_refused() -> None:
    for size, depth in ((8, 4), (6, 3), (2, 2), (7, 1)):
        assert posteriors.ResidualNearest(Linear(X, size // depth), size).groups == depth
    assert math.isclose(
        priors.Codes(posteriors.ResidualNearest(Linear(X, 2), 8))().log_mass[0, 0], -math.log(64), rel_tol=1e-6
    )
    with pytest.raises(UsageError, match="no multiple of depth 4"):
        posteriors.ResidualNearest(Linear(X, 1), 6, depth=4)
    for wrong in ({"codes": 1}, {"ema": 1.0}, {"revive": -0.1}, {"depth": -1}):
        with pytest.raises(UsageError, match="codes is at least 2"):
            posteriors.ResidualNearest(Linear(X, Z), Z, **wrong)
