"""Normal distributions on hyperbolic space: isometries, quadrature, closed forms of the normaliser, draws, evidence."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from oracles import F64, close, noise, tensor, within
from vaelab import likelihoods, posteriors, priors
from vaelab.distributions import RiemannianNormal, WrappedNormal, draw, held
from vaelab.distributions.hyperbolic import log_volume, to_ball, translate
from vaelab.errors import UsageError
from vaelab.models import VAE
from vaelab.networks import MLP, Linear


def moebius(a: Tensor, b: Tensor, c: float) -> Tensor:
    ab, aa, bb = ((v * w).sum(-1, keepdim=True) for v, w in ((a, b), (a, a), (b, b)))
    return ((1 + 2 * c * ab + c * bb) * a + (1 - c * aa) * b) / (1 + 2 * c * ab + c * c * aa * bb)


def lorentz(z: np.ndarray, c: float) -> np.ndarray:
    """Points of the hyperboloid, whose products are -cosh of the distance."""
    r = math.sqrt(c) * np.linalg.norm(z, axis=-1, keepdims=True)
    return np.concatenate([np.cosh(r), np.sinh(r) / r * math.sqrt(c) * z], -1)


def distance(a: np.ndarray, b: np.ndarray, c: float) -> np.ndarray:
    u, v = lorentz(a, c), lorentz(b, c)
    return np.arccosh(u[..., 0] * v[..., 0] - (u[..., 1:] * v[..., 1:]).sum(-1)) / math.sqrt(c)


@pytest.mark.parametrize("c", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("dims", [1, 2, 5])
def test_translation_is_the_isometry_of_the_ball(dims: int, c: float) -> None:
    m, t, s = torch.randn(3, 7, dims, dtype=F64)
    z = translate(m, t, c)
    close(to_ball(z, c), moebius(to_ball(m, c), to_ball(t, c), c), rel=1e-9)
    close(translate(-m, z, c), t, rel=1e-9)  # its own inverse
    other = translate(m, s, c)
    close(distance(z.numpy(), other.numpy(), c), distance(t.numpy(), s.numpy(), c), rel=1e-8)
    close(translate(m, torch.zeros_like(m), c), m)
    close(translate(torch.zeros_like(m), t, c), t)


def test_far_out_it_is_as_exact_as_the_coordinates_are() -> None:
    """Ten units of curvature out, in float32: an angle of 1e-7 is there a distance of 1e-3."""
    m = torch.randn(50, 3)
    m = 10 * m / m.norm(dim=-1, keepdim=True)
    t = 0.3 * torch.randn(50, 3)
    back = translate(-m, translate(m, t, 1.0), 1.0)
    assert (back - t).abs().max() < 0.02
    q = WrappedNormal(1e3 * m, 1e4 * torch.ones(50, 3), 1.0)
    z = draw(q, 5, noise())
    assert torch.isfinite(z).all()
    assert torch.isfinite(q.log_prob(z)).all()
    # very small curvature: Euclid
    m, t = torch.randn(2, 7, 3, dtype=F64)
    assert (translate(m, t, 1e-10) - (m + t)).abs().max() < 1e-8
    close(WrappedNormal(m, t.exp(), 1e-10).log_prob(t), stats.norm(m, t.exp()).logpdf(t.numpy()).sum(-1), rel=1e-7)


@pytest.mark.parametrize(("c", "a"), [(0.5, 0.0), (0.5, 1.3), (2.0, 0.9)])
def test_densities_integrate_to_one_against_the_riemannian_volume(c: float, a: float) -> None:
    """In polar coordinates the volume of the plane is sinh(sqrt(c) r) / sqrt(c) dr dangle."""
    t, weight = np.polynomial.legendre.leggauss(300)
    r, angle = 6 * (t + 1), np.arange(400) * math.pi / 200
    plane = tensor(r[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1))
    volume = 6 * weight[:, None] * np.sinh(math.sqrt(c) * r)[:, None] / math.sqrt(c) * math.pi / 200
    for d in (WrappedNormal(tensor([a, -a]), tensor([0.3, 0.6]), c), RiemannianNormal(2, c, 0.7, tensor(0.0))):
        against_volume = d.log_prob(plane) - log_volume(plane, c)
        assert (np.exp(against_volume.numpy()) * volume).sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("c", [0.4, 1.7])
def test_the_normaliser_in_closed_form(c: float) -> None:
    """The binomial expansion of sinh^(D-1), term by term a Gaussian integral (Mathieu et al. 2019, appendix B)."""
    for dims in (1, 2, 3, 6):
        s, n = 0.6, dims - 1
        total = sum(
            (-1) ** k * special.comb(n, k) * math.exp(((n - 2 * k) * s) ** 2 * c / 2)
            * (1 + math.erf((n - 2 * k) * s * math.sqrt(c / 2)))
            for k in range(dims)
        )  # fmt: skip
        radial = math.sqrt(math.pi / 2) * s * total / (2 * math.sqrt(c)) ** n
        area = 2 * math.pi ** (dims / 2) / math.gamma(dims / 2)
        assert RiemannianNormal(dims, c, s, tensor(0.0)).log_normaliser == pytest.approx(
            math.log(area * radial), rel=1e-9, abs=1e-9
        )


@pytest.mark.parametrize("dims", [1, 2, 7, 300])
def test_draws_of_the_riemannian_normal_have_its_law(dims: int) -> None:
    p = RiemannianNormal(dims, 0.8, 0.5, tensor(0.0))
    z = draw(p, 20_011, noise())
    r = np.linspace(0, 30 if dims < 300 else 80, 300_001)[1:]
    line = np.concatenate([r[:, None], np.zeros((len(r), min(dims, 7) - 1))], 1)
    log_f = -0.5 * (r / 0.5) ** 2 + (dims - 1) * (math.sqrt(0.8) * r + np.log1p(-np.exp(-2 * math.sqrt(0.8) * r)))
    if dims <= 7:  # the formula of this test is that of the density, but for a constant
        ours = p.log_prob(tensor(line)).numpy() + (dims - 1) * np.log(r) - log_f
        assert np.ptp(ours) < 1e-8 * max(1, np.abs(ours).max())
    cdf = np.cumsum(np.exp(log_f - log_f.max()))
    assert stats.ks_1samp(z.norm(dim=-1).numpy(), lambda d: np.interp(d, r, cdf / cdf[-1])).pvalue > 5.7e-7
    within(z, np.zeros(dims))


@pytest.mark.parametrize("c", [0.3, 2.0])
def test_draws_of_the_wrapped_normal_have_its_density(c: float) -> None:
    """E[f / q] over draws of q is the integral of f: of the density of another, wider distribution, one."""
    q = WrappedNormal(tensor([[0.7, -0.4, 0.2]]), tensor([[0.5, 0.8, 0.6]]), c)
    narrower = WrappedNormal(tensor([[0.5, -0.3, 0.2]]), tensor([[0.4, 0.5, 0.5]]), c)
    z = draw(q, 40_009, noise())
    within((narrower.log_prob(z) - q.log_prob(z)).exp(), np.ones(1))
    # the density by the Jacobian of the map from noise
    e = torch.randn(3, dtype=F64)
    J = torch.autograd.functional.jacobian(lambda v: q.push(v[None])[0], e)
    base = -0.5 * (e.square() + math.log(2 * math.pi)).sum()
    close(q.log_prob(q.push(e[None]))[0], base - torch.linalg.slogdet(J)[1], rel=1e-9)
    close(held(q).log_prob(z), q.log_prob(z))
    rows = WrappedNormal(q.loc.expand(4, 3) + torch.arange(4)[:, None], q.scale.expand(4, 3), c)
    close(rows.log_prob(z[:5])[:, 2], WrappedNormal(rows.loc[2], q.scale[0], c).log_prob(z[:5, 0]))  # rows broadcast


@pytest.mark.parametrize("prior", ["gaussian", "riemannian"])
def test_the_weights_average_to_the_evidence(prior: str) -> None:
    """p(x) of a model on the plane, by quadrature."""
    p = priors.Gaussian(2) if prior == "gaussian" else priors.RiemannianNormal(2, 0.8)
    q = posteriors.WrappedNormal(MLP(5, 4, (11,), "tanh"), 2, curvature=0.8)
    px = likelihoods.Gaussian(MLP(2, 5, (11,), "tanh"), (5,), scale=0.8)
    m, x = VAE(prior=p, posterior=q, likelihood=px).double(), torch.randn(3, 5, dtype=F64)
    side = torch.linspace(-8, 8, 401, dtype=F64)
    z = torch.cartesian_prod(side, side)[:, None].expand(-1, 3, -1)
    with torch.no_grad():
        log_joint = m.decode(z).log_prob(x) + m.prior().log_prob(z)
        evidence = log_joint.logsumexp(0) + 2 * math.log(16 / 400)
        terms = m.terms(x, samples=20_011, noise=noise(2))
        within((terms.log_w - evidence).exp(), np.ones(3))
        assert not terms.closed_form


def test_centres_stay_in_reach_and_nonsense_is_refused() -> None:
    part = posteriors.WrappedNormal(Linear(1, 6), 3, curvature=4.0)
    for raw in (0.0, 1e-20, 1.0, 1e8):
        torch.nn.init.zeros_(part.network.map.weight)
        torch.nn.init.constant_(part.network.map.bias, raw)
        q = part(torch.zeros(1, 1))
        assert q.loc.norm() <= 5.0001
        z = draw(q, 3, noise())
        total = z.sum() + q.log_prob(z).sum()
        assert torch.isfinite(torch.autograd.grad(total, part.network.map.bias)[0]).all()
    for curvature in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="curvature"):
            posteriors.WrappedNormal(Linear(1, 6), 3, curvature=curvature)
        with pytest.raises(UsageError, match="curvature and scale"):
            priors.RiemannianNormal(3, curvature)
