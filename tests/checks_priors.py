"""Exact checks of priors and of their refit."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from exact import bounded, check, close, f64, linear, log_normal, normal, real_data
from vaelab import posteriors, priors
from vaelab.distributions import draw
from vaelab.networks import Linear
from vaelab.noise import Given
from vaelab.use.refit import codes_of, log_prior, refit

WEIGHT = f64([0.2, 0.5, 0.3])


def mixture(covariance: str = "diagonal") -> tuple[priors.Mixture, Tensor, Tensor]:
    """A mixture of three in two dimensions, its means and the factors of its covariances."""
    part = priors.Mixture(2, 3, covariance).double()
    for seed, parameter in enumerate(part.parameters()):
        parameter.data = normal(*parameter.shape, seed=seed)
    part.logits.data = WEIGHT.log() + 0.7
    lower = torch.diag_embed(bounded(part.log_scale.detach()).exp())
    if covariance == "full":
        lower[:, 1, 0] = part.below.detach()[:, 0]
    return part, part.loc.detach(), lower


def log_gaussian(z: Tensor, mean: Tensor, lower: Tensor) -> Tensor:
    """log N(z; mean, L L') in two dimensions, by forward substitution."""
    first = (z[..., 0] - mean[..., 0]) / lower[..., 0, 0]
    second = (z[..., 1] - mean[..., 1] - lower[..., 1, 0] * first) / lower[..., 1, 1]
    log_det = (lower[..., 0, 0] * lower[..., 1, 1]).log()
    return -0.5 * (first**2 + second**2) - log_det - math.log(2 * math.pi)


@check
def mixtures_are_sums_of_gaussians() -> None:
    z = 2 * normal(4, 5, 2, seed=9)
    for covariance in ("diagonal", "full"):
        part, loc, lower = mixture(covariance)
        truth = (WEIGHT * log_gaussian(z[..., None, :], loc, lower).exp()).sum(-1).log()
        close(part().log_prob(z), truth, what=f"log p(z), {covariance}")
        mean = (WEIGHT[:, None] * loc).sum(0)
        second = (WEIGHT[:, None] * ((lower**2).sum(-1) + loc**2)).sum(0)
        close(part().mean, mean, what="mean")
        close(part().variance, second - mean**2, what="variance")
        u, eps = f64([[0.1, 0.69], [0.71, 0.999]]), normal(2, 2, 2, seed=4)
        k = torch.tensor([[0, 1], [2, 2]])
        found = draw(part().expand(torch.Size([2])), 2, Given([u, eps]))
        close(found, loc[k] + (lower[k] @ eps[..., None])[..., 0], what="draws")


@check
def a_vamp_prior_at_the_data_is_the_aggregated_posterior() -> None:
    x = normal(5, 4, seed=1) * 3 + 1
    network = Linear(4, 4).double()
    q = posteriors.Gaussian(network, 2)
    prior = priors.Vamp(q, (4,), 5).double()
    prior.start(x, 5)
    z = normal(3, 2, seed=2)
    mean, raw = (x @ network.map.weight.T + network.map.bias).chunk(2, -1)
    each = log_normal(z[:, None], mean, bounded(raw).exp()).sum(-1)
    close(prior().log_prob(z), each.exp().mean(1).log(), what="log of the aggregated posterior")
    prior.inputs.data += 100 * normal(5, 4, seed=3)
    prior.update()
    assert (prior.inputs >= x.amin(0)).all(), "pseudo-inputs below the data"
    assert (prior.inputs <= x.amax(0)).all(), "pseudo-inputs above the data"


@check
def a_masked_autoregressive_flow_by_hand() -> None:
    """With constant networks e = (shift + scale z) carried through m + exp(a) e: a Gaussian of known moments."""
    part = priors.Flow(2, 1, 3, kind="maf").double()
    m, a = f64([0.4, -0.3]), f64([0.5, -0.7])
    part.shift.data, part.log_scale.data = f64([0.2, -1.0]), f64([0.3, 0.1])
    nn.init.zeros_(part.networks[0].last.weight)
    part.networks[0].last.bias.data = torch.stack([m, a], -1).flatten()
    slope = bounded(a).exp() * bounded(part.log_scale).exp()
    shift = m + bounded(a).exp() * part.shift
    z = normal(4, 2, seed=5)
    close(part().log_prob(z), log_normal(z, -shift / slope, 1 / slope).sum(-1), what="log p(z)")
    eps = normal(3, 2, seed=6)
    close(draw(part(), 3, Given([eps])), (eps - shift) / slope, what="draws")


@check
def the_sphere_has_its_area() -> None:
    for dims, area in ((2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2)):
        p = priors.UniformSphere(dims).double()()
        z = draw(p, 7, Given([normal(7, dims)]))
        close(z.norm(dim=-1), torch.ones(7), what="length")
        close(p.log_prob(z), torch.full((7,), -math.log(area), dtype=torch.float64), what="density")


@check
def refit_fits_draws_and_moves_the_bound_by_its_gain() -> None:
    """One full Gaussian has the moments of the codes, and of q's covariance on top of that of its means."""
    o = linear(posterior="full")
    x = normal(500, 5, seed=5)
    data = real_data(x)
    new = refit(o.model, data, priors.Mixture(2, 1, "full"))
    z = codes_of(o.model, data).flatten(0, 1)
    p = new.prior_at()
    close(p.mean, z.mean(0), 1e-9, what="mean")
    close(p.variance, z.var(0, correction=0), 1e-4, what="variance")
    mean = x @ o.a.T + o.b
    truth = mean.T.cov(correction=0) + o.l @ o.l.T
    close(p.variance, truth.diagonal(), 0.03, what="variance of the aggregated posterior")  # of 50,000 draws
    kl = [m.terms(x, samples=1, noise=Given([torch.zeros(1, 500, 2).double()])).log_w.mean() for m in (new, o.model)]
    q_mean = x @ o.a.T + o.b
    gain = (p.log_prob(q_mean) - o.model.prior_at().log_prob(q_mean)).mean()
    close(kl[0] - kl[1], gain, what="the gain of the bound")
    assert log_prior(new, data) > log_prior(o.model, data)


@check
def masses_of_code_sequences_sum_to_one() -> None:
    """Over all sequences of two of three codes; the draw of u passes their cumulative masses by the chain rule."""
    q = posteriors.Nearest(Linear(5, 4), 4, codes=3, width=2).double()
    prior = priors.CodeSequence(q, hidden=7).double()
    for seed, parameter in enumerate(prior.network.parameters()):
        parameter.data = normal(*parameter.shape, seed=seed)
    k = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    mass = prior().log_prob(q.codebook[k].flatten(-2)).exp().reshape(3, 3)
    close(mass.sum(), 1.0, what="the sum of all masses")
    u = f64([[0.2, 0.7], [0.5, 0.1], [0.8, 0.4], [0.97, 0.95]])
    first = (u[:, :1] > mass.sum(1).cumsum(0)[:-1]).sum(1)
    second = (u[:, 1:] > (mass / mass.sum(1, keepdim=True))[first].cumsum(1)[:, :-1]).sum(1)
    found = draw(prior().expand(torch.Size([4])), 1, Given([u[None]]))[0]
    close(found, q.codebook[torch.stack([first, second], 1)].flatten(-2), what="draws")
