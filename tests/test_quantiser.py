"""The quantiser of VQ-VAE by brute force: nearest codes, masses, straight-through gradients, running means, bounds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from oracles import F64, close, given, noise, rows, tensor
from vaelab import fit, likelihoods, posteriors, priors
from vaelab.distributions import CodeMasses, draw
from vaelab.errors import UsageError
from vaelab.evaluation import evaluate_model, mutual_information
from vaelab.models import VAE
from vaelab.networks import MLP, Linear
from vaelab.objectives import ELBO, Quantised, elbo, iwae

B, X, C, G, W = 7, 5, 3, 2, 2
Z = G * W


def model(ema: float = 0.9, learned: bool = False, revive: float = 0.05) -> VAE:
    q = posteriors.Nearest(MLP(X, Z, (11,), "tanh"), Z, codes=C, width=W, ema=ema, revive=revive)
    px = likelihoods.Gaussian(MLP(Z, X, (11,), "tanh"), (X,), scale=0.7)
    made = VAE(prior=priors.Codes(q, learned), posterior=q, likelihood=px).double()
    if learned:
        with torch.no_grad():
            made.prior.logits.copy_(torch.randn(G, C))
    return made


def nearest_by_hand(encoded: np.ndarray, book: np.ndarray) -> np.ndarray:
    out = np.zeros((len(encoded), G), int)
    for b, g in itertools.product(range(len(encoded)), range(G)):
        out[b, g] = min(range(C), key=lambda c: ((encoded[b, g * W : (g + 1) * W] - book[c]) ** 2).sum())
    return out


def test_codes_are_the_nearest() -> None:
    m, x = model(), torch.randn(B, X, dtype=F64)
    q = m.posterior(x)
    index = nearest_by_hand(m.posterior.network(x).detach().numpy(), m.posterior.codebook.numpy())
    assert (q.index.numpy() == index).all()
    assert len(np.unique(index)) > 1
    close(q.value, m.posterior.codebook.numpy()[index].reshape(B, Z))
    z = draw(q, 2, noise())
    assert torch.equal(z[0], q.value)
    assert torch.equal(z[1], q.value)
    close(q.log_prob(z), np.zeros((2, B)))
    assert (q.log_prob(z + 1e-9) == -math.inf).all()


@pytest.mark.parametrize("learned", [False, True])
def test_the_bound_is_below_the_enumerated_evidence(learned: bool) -> None:
    """p(x) = sum over all sequences of codes of p(k) p(x | k); one term of it is exp(elbo)."""
    m, x = model(learned=learned), torch.randn(B, X, dtype=F64)
    book = m.posterior.codebook.numpy()
    log_mass = m.prior.logits.log_softmax(-1).detach().numpy() if learned else np.full((G, C), -math.log(C))
    joint = {}
    for k in itertools.product(range(C), repeat=G):
        z = np.concatenate([book[c] for c in k])
        mean = m.decode(tensor(z)[None]).mean.detach().numpy()[0]
        joint[k] = sum(log_mass[g, c] for g, c in enumerate(k)) + norm(mean, 0.7).logpdf(x.numpy()).sum(1)
    evidence = logsumexp(np.stack(list(joint.values())), axis=0)
    terms = m.terms(x, samples=3, noise=noise())
    own = np.array([joint[tuple(k)][b] for b, k in enumerate(terms.q.index.tolist())])
    close(elbo(terms), own)
    close(iwae(terms), own)
    close(terms.log_w, np.tile(own, (3, 1)))
    assert (own < evidence).all()
    # every sequence has its mass, and they sum to one
    every = tensor(np.array([np.concatenate([book[c] for c in k]) for k in joint]))
    masses = m.prior().log_prob(every).exp()
    close(masses, [math.exp(sum(log_mass[g, c] for g, c in enumerate(k))) for k in joint])
    close(masses.sum(), 1.0)
    assert (m.prior().log_prob(every + 1e-9) == -math.inf).all()
    close(
        terms.kl["z"][0], -np.take_along_axis(log_mass[None].repeat(B, 0), terms.q.index.numpy()[..., None], 2)[..., 0]
    )


def test_prior_draws_have_their_masses() -> None:
    book, log_mass = torch.arange(C * W, dtype=F64).reshape(C, W), torch.randn(G, C, dtype=F64).log_softmax(-1)
    n = 20_011
    z = draw(CodeMasses(book, log_mass).expand((n,)), 1, noise())[0].reshape(n, G, W)
    index = (z[..., 0] / W).long()
    assert torch.equal(book[index], z)
    for g in range(G):
        share = torch.bincount(index[:, g], minlength=C) / n
        mass = log_mass[g].exp()
        assert ((share - mass).abs() < 5 * (mass * (1 - mass) / n).sqrt()).all()
    # equal codes add their masses
    twice = CodeMasses(torch.zeros(2, 1, dtype=F64), tensor([[0.25, 0.75]]).log())
    close(twice.log_prob(torch.zeros(1, dtype=F64)), 0.0)


@pytest.mark.parametrize("ema", [0.9, 0.0])
def test_objective_and_gradients_by_hand(ema: float) -> None:
    """Eq. 3: the encoder gets the decoder's gradient at the codes and the commitment, the codes their own term."""
    m, x = model(ema), torch.randn(B, X, dtype=F64)
    losses, terms = Quantised(commitment=0.3)(m, x, noise=noise(), step=0)
    q = terms.q
    distance = ((q.encoded - q.value) ** 2).sum(1)
    close(losses["model"], -elbo(terms) + (0.3 + (ema == 0)) * distance)
    wanted = [q.encoded] + ([m.posterior.codebook] if ema == 0 else [])
    got = torch.autograd.grad(losses["model"].sum(), wanted)
    at = q.value.detach().requires_grad_()
    (decoder,) = torch.autograd.grad(m.decode(at).log_prob(x).sum(), at)
    close(got[0], -decoder + 2 * 0.3 * (q.encoded - q.value))
    if ema == 0:
        pull = np.zeros((C, W))
        difference = (q.value - q.encoded).detach().numpy().reshape(B, G, W)
        for b, g in itertools.product(range(B), range(G)):
            pull[q.index[b, g]] += 2 * difference[b, g]
        close(got[1], pull)


def test_running_means_by_hand() -> None:
    m = model(ema=0.9, revive=0.0)
    part, x = m.posterior, torch.randn(3, B, X, dtype=F64)
    count, total, book = np.ones(C), part.codebook.numpy().copy(), part.codebook.numpy().copy()
    for t in range(3):
        terms = m.terms(x[t], noise=noise())
        encoded = part.network(x[t]).detach().numpy()
        index = nearest_by_hand(encoded, book)
        pieces = encoded.reshape(B, G, W)
        for c in range(C):
            mine = pieces[index == c]
            count[c] = 0.9 * count[c] + 0.1 * len(mine)
            total[c] = 0.9 * total[c] + 0.1 * mine.sum(0)
            book[c] = total[c] / count[c]
        part.update(terms)
        close(part.codebook, book)
        close(part.count, count)
    assert part.updates
    assert not model(ema=0.0).posterior.updates


def test_a_dead_code_moves_to_the_worst_served_piece() -> None:
    m = model(ema=0.5, revive=0.3)
    part, x = m.posterior, torch.randn(B, X, dtype=F64)
    with torch.no_grad():
        part.codebook[2] = part.total[2] = 1e6  # nothing is near it
    for step in range(2):  # its count goes 1, 0.5, 0.25
        terms = m.terms(x, noise=noise())
        pieces = terms.q.encoded.detach().reshape(-1, W)
        distance = (pieces - terms.q.value.reshape(-1, W)).square().sum(1)
        part.update(terms)
        assert (part.codebook[2].abs().max() < 1e5) == (step == 1)
    assert torch.equal(part.codebook[2], pieces[distance.argmax()])
    assert part.count[2] == 1


def test_codes_start_on_the_data() -> None:
    m, x = model(), torch.randn(B, X, dtype=F64)
    m.posterior.start(x, B)
    pieces = m.posterior.network(x).detach().reshape(-1, W)
    close(m.posterior.codebook, pieces[[0, 4, 9]])
    few = posteriors.Nearest(Linear(X, Z), Z, codes=50, width=W).double()
    last = few.codebook[B * G :].clone()
    few.start(x, B)
    close(few.codebook[: B * G], few.network(x).detach().reshape(-1, W))
    assert torch.equal(few.codebook[B * G :], last)


def test_what_has_no_bound_says_so() -> None:
    q = posteriors.Nearest(Linear(X, Z), Z, codes=C)
    px = likelihoods.Gaussian(Linear(Z, X), (X,), scale=1.0)
    m, x = VAE(prior=priors.Gaussian(Z), posterior=q, likelihood=px).double(), torch.randn(B, X, dtype=F64)
    with pytest.raises(UsageError, match=r"NearestCode and p.* their densities are of different kinds"):
        ELBO()(m, x, noise=noise(), step=0)
    losses, terms = Quantised(0.0)(m, x, noise=noise(), step=0)
    close(losses["model"], -terms.log_px[0])
    result = evaluate_model(m, rows(x), samples=3)
    assert result.elbo is None
    assert "of another kind" in (result.reason or "")
    assert mutual_information(m, rows(x)) is None
    gaussian, narrow = posteriors.Gaussian(Linear(X, 4), 2), likelihoods.Gaussian(Linear(2, X), (X,), scale=1.0)
    plain = VAE(prior=priors.Gaussian(2), posterior=gaussian, likelihood=narrow)
    with pytest.raises(UsageError, match="needs the posterior nearest or residual-nearest, got a Independent"):
        Quantised()(plain.double(), x, noise=given(torch.zeros(1, B, 2)), step=0)
    with pytest.raises(UsageError, match="needs the posterior 'nearest' or 'residual-nearest', got a Gaussian"):
        priors.Codes(plain.posterior)
    with pytest.raises(UsageError, match="no multiple"):
        posteriors.Nearest(Linear(X, 5), 5, width=2)
    for wrong in ({"codes": 1}, {"ema": 1.0}, {"revive": -0.1}, {"width": -1}):
        with pytest.raises(UsageError, match="codes is at least 2"):
            posteriors.Nearest(Linear(X, Z), Z, **wrong)


def test_information_of_codes_is_their_entropy() -> None:
    m, x = model(), torch.randn(40, X, dtype=F64)
    information, _, _ = mutual_information(m, rows(x))  # type: ignore[misc]
    _, counts = np.unique(m.posterior(x).index.numpy(), axis=0, return_counts=True)
    share = counts / 40
    assert information == pytest.approx(-(share * np.log(share)).sum(), rel=1e-12)


def test_a_quantiser_finds_the_clusters_of_mixture_data() -> None:
    """Four tight clusters under eight codes: the bound is the evidence of the mixture, less log 2 for two of a kind."""
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(4, 3))
    x = centres[rng.integers(4, size=400)] + 0.3 * rng.normal(size=(400, 3))
    q = posteriors.Nearest(Linear(3, 2), 2, codes=8, ema=0.9)
    m = VAE(prior=priors.Codes(q), posterior=q, likelihood=likelihoods.Gaussian(MLP(2, 3, (32,)), (3,), scale=0.3))
    run = fit(m, x, objective=Quantised(), epochs=60, validation=0, progress="off", lr=0.01)
    exact = logsumexp(norm(centres[:, None], 0.3).logpdf(x).sum(-1), axis=0).mean() - math.log(4)
    reached = run.evaluate(x, samples=1).elbo
    assert reached is not None
    assert -math.log(2) - 1 < reached.value - exact < 0.1, (reached.value, exact)
