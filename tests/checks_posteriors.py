"""Exact checks of flows, the quantiser, refinements and the von Mises-Fisher distribution."""

from __future__ import annotations

import math

import torch

from exact import check, close, design, f64, linear, normal
from vaelab import likelihoods, posteriors, priors
from vaelab.distributions import RiemannianNormal, UniformSphere, VonMisesFisher, WrappedNormal, closed_form_kl, draw
from vaelab.models import VAE
from vaelab.networks import Linear
from vaelab.noise import Given
from vaelab.objectives import Quantised
from vaelab.refinements import GradientSteps, Hamiltonian


@check
def flows_know_their_density() -> None:
    """log q of a draw by the Jacobian of the map from noise, in three dimensions; elsewhere by the inverse."""
    for kind in ("planar", "radial", "iaf", "spline"):
        torch.manual_seed(3)
        outputs = posteriors.Flow.outputs(3, kind=kind, transforms=2)
        part = posteriors.Flow(Linear(2, outputs), 3, kind=kind, transforms=2, hidden=7).double()
        q, e = part(normal(2, 2)), normal(1, 2, 3, seed=4)
        z = draw(q, 1, Given([e]))
        for b in range(2):
            J = torch.autograd.functional.jacobian(lambda v, q=q, b=b: q.push(v.expand(2, 3))[0][b], e[0, b])
            base = -0.5 * (e[0, b].square() + math.log(2 * math.pi)).sum()
            close(q.log_prob(z)[0, b], base - torch.linalg.slogdet(J)[1], 1e-9, what=f"log q, {kind}")
        close(q.log_prob(z.clone()), q.log_prob(z), 1e-8, what=f"log q by the inverse, {kind}")


def quantiser() -> tuple[VAE, torch.Tensor]:
    q = posteriors.Nearest(Linear(2, 2), 2, codes=3, width=1, ema=0.75, revive=0.0)
    model = VAE(prior=priors.Codes(q), posterior=q, likelihood=likelihoods.Gaussian(Linear(2, 2), (2,), 0.8)).double()
    q.network.map.weight.data, q.network.map.bias.data = torch.eye(2).double(), torch.zeros(2).double()
    q.codebook.copy_(f64([[-1.0], [0.0], [2.0]]))
    q.total.copy_(q.codebook)
    return model, f64([[-0.8, 0.3], [1.4, 2.5], [-0.2, 0.1]])


@check
def quantiser_by_hand() -> None:
    model, x = quantiser()
    losses, t = Quantised(commitment=0.5)(model, x, noise=Given([]), step=0)
    codes = f64([[-1.0, 0.0], [2.0, 2.0], [0.0, 0.0]])
    close(t.z[0], codes, what="nearest codes")
    bound = model.decode(codes).log_prob(x) - 2 * math.log(3)
    close(losses["model"], -bound + 0.5 * (x - codes).square().sum(1), what="loss of VQ-VAE")
    (slope,) = torch.autograd.grad(losses["model"].sum(), t.q.encoded)
    at = codes.clone().requires_grad_()
    (through,) = torch.autograd.grad(model.decode(at).log_prob(x).sum(), at)
    close(slope, -through + (x - codes), what="straight-through gradient and commitment")
    model.posterior.update(t)
    count = 0.75 + 0.25 * f64([1, 3, 2])
    total = 0.75 * f64([-1.0, 0.0, 2.0]) + 0.25 * f64([-0.8, 0.3 - 0.2 + 0.1, 1.4 + 2.5])
    close(model.posterior.codebook[:, 0], total / count, what="running means of the codes")


@check
def levels_of_a_quantiser_by_hand() -> None:
    """Codes of residuals, the straight-through gradient at the sum, running means of the second level."""
    q = posteriors.ResidualNearest(Linear(1, 1), 2, codes=2, depth=2, ema=0.75, revive=0.0)
    px = likelihoods.Gaussian(Linear(2, 1), (1,), 0.8)
    model = VAE(prior=priors.Codes(q), posterior=q, likelihood=px).double()
    q.network.map.weight.data, q.network.map.bias.data = torch.ones(1, 1).double(), torch.zeros(1).double()
    px.network.map.weight.data = f64([[0.7, 0.7]])  # reads the sum of the levels
    q.codebook.copy_(f64([[[-1.0], [2.0]], [[-0.5], [0.25]]]))
    q.total.copy_(q.codebook)
    x = f64([[-1.6], [2.2], [1.7]])
    losses, t = Quantised(commitment=0.5)(model, x, noise=Given([]), step=0)
    codes = f64([[-1.0, -0.5], [2.0, 0.25], [2.0, -0.5]])
    left = f64([[-0.6, -0.1], [0.2, -0.05], [-0.3, 0.2]])
    close(t.z[0], codes, what="codes of the levels")
    bound = model.decode(codes).log_prob(x) - 2 * math.log(2)
    close(losses["model"], -bound + 0.5 * left.square().sum(1), what="loss of HRQ-VAE")
    (slope,) = torch.autograd.grad(losses["model"].sum(), q.network.map.bias)
    at = codes.clone().requires_grad_()
    (through,) = torch.autograd.grad(model.decode(at).log_prob(x).sum(), at)
    close(slope, (-through[:, 0] + left.sum(1)).sum().reshape(1), what="gradient at the sum, and commitment")
    q.update(t)
    total = 0.75 * f64([-0.5, 0.25]) + 0.25 * f64([-0.6 - 0.3, 0.2])
    close(q.codebook[1, :, 0], total / (0.75 + 0.25 * f64([2, 1])), what="running means of the second level")


@check
def leapfrog_by_hand() -> None:
    """One and two steps for the linear model, with tempering; the weights' log q."""
    o = linear(wrong=True)
    x, e, g = normal(4, 5, seed=5), normal(3, 4, 2, seed=6), normal(3, 4, 2, seed=7)
    for steps in (1, 2):
        refine = Hamiltonian(2, leapfrog=steps, step=0.2, tempering=0.4).double()
        model = VAE(prior=o.model.prior, posterior=o.model.posterior, likelihood=o.model.likelihood, refine=refine)
        t = model.terms(x, samples=3, noise=Given([e, g]))
        step, root = 0.5 * refine.raw_step.sigmoid(), refine.raw_beta.sigmoid() ** -0.5
        deviation = o.l.diagonal()
        z, r = x @ o.a.T + o.b + deviation * e, g * root

        def slope(z: torch.Tensor) -> torch.Tensor:
            return ((x - z @ o.w.T - o.m) / o.s**2) @ o.w - (z - o.loc) / o.tau**2

        heat = root
        for k in range(1, steps + 1):
            r = r + 0.5 * step * slope(z)
            z = z + step * r
            r = r + 0.5 * step * slope(z)
            cooler = root + (1 - root) * (k / steps) ** 2
            r, heat = r * cooler / heat, cooler
        log_q = -0.5 * (e**2).sum(-1) - math.log(2 * math.pi) - deviation.log().sum()
        close(t.z, z, what="z after the leapfrog steps")
        close(t.log_qz, log_q + 0.5 * (r**2 - g**2).sum(-1), what="log q with the momentum")


@check
def the_exact_posterior_is_where_gradient_steps_stay() -> None:
    o = linear()
    x, points = normal(4, 5, seed=5), math.sqrt(2) * torch.eye(2, dtype=torch.float64)[:, None].expand(-1, 4, -1)
    model = VAE(
        prior=o.model.prior, posterior=o.model.posterior, likelihood=o.model.likelihood, refine=GradientSteps(2, 0.3, 2)
    )
    t = model.terms(x, samples=4, noise=Given([points, points, design(2, 4)]))
    close(t.q.mean, x @ o.a.T + o.b, what="mean after gradient steps")
    close(t.q.stddev, o.l.diagonal().expand(4, 2), what="deviation after gradient steps")


@check
def von_mises_fisher_on_the_circle() -> None:
    angle = torch.arange(2000, dtype=torch.float64) * 2 * math.pi / 2000
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    q = VonMisesFisher(f64([[0.6, 0.8]]), f64([3.0]))
    log_q = q.log_prob(circle)
    mass = log_q.exp() * 2 * math.pi / 2000
    close(mass.sum(), 1.0, what="mass on the circle")
    close(q.mean[0], mass @ circle, what="mean")
    kl = closed_form_kl(q, UniformSphere(2, circle))
    close(kl, (mass @ (log_q + math.log(2 * math.pi))).reshape(1, 1), what="KL to the uniform")
    # in three dimensions the cosine t has the distribution function (exp(k t) - exp(-k)) / (exp(k) - exp(-k))
    k = f64([3.0]).requires_grad_()
    u = f64([[0.1], [0.5], [0.9]])
    t = 1 + torch.log(1 - u + u * (-2 * k).exp()) / k  # the angle rises as the cosine falls
    mine = VonMisesFisher(f64([[0.0, 0.6, 0.8]]), k).angle(u).cos()
    close(mine, t, 1e-7, what="quantiles of the cosine")
    ours, truth = (torch.autograd.grad(v.sum(), k, retain_graph=True)[0] for v in (mine, t))
    close(ours, truth, 1e-6, what="their gradient in the concentration")


@check
def normals_on_the_hyperbolic_plane() -> None:
    """Draws by Moebius addition in the ball; masses by quadrature, in polar coordinates about the origin."""
    c, loc, scale, e = 0.7, f64([0.9, -0.5]), f64([0.4, 0.6]), normal(3, 2, seed=8)

    def ball(z: torch.Tensor) -> torch.Tensor:
        r = z.norm(dim=-1, keepdim=True)
        return (math.sqrt(c) * r / 2).tanh() / (math.sqrt(c) * r) * z

    q = WrappedNormal(loc, scale, c)
    a, b = ball(loc), ball(scale * e)
    ab, aa, bb = (a * b).sum(-1, keepdim=True), (a * a).sum(), (b * b).sum(-1, keepdim=True)
    sum_ = ((1 + 2 * c * ab + c * bb) * a + (1 - c * aa) * b) / (1 + 2 * c * ab + c * c * aa * bb)
    z = draw(q, 3, Given([e]))
    close(ball(z), sum_, what="mu (+) t in the ball")
    r = torch.linspace(0, 9, 1801, dtype=torch.float64)
    angle = torch.arange(200, dtype=torch.float64) * math.pi / 100
    plane = r[:, None, None] * torch.stack([angle.cos(), angle.sin()], -1)
    cell = r[:, None] * 0.005 * math.pi / 100
    close((q.log_prob(plane).exp() * cell).sum(), 1.0, 1e-5, what="mass of the wrapped normal")
    distance = 2 / math.sqrt(c) * torch.atanh(math.sqrt(c) * ball(plane[1:]).norm(dim=-1))
    close(distance, r[1:, None].expand(-1, 200), 1e-6, what="distance from the origin")
    p = RiemannianNormal(2, c, 0.8, loc)
    log_p = p.log_prob(plane)
    close((log_p.exp() * cell).sum(), 1.0, 1e-5, what="mass of the Riemannian normal")
    volume = ((math.sqrt(c) * r[1:]).sinh() / (math.sqrt(c) * r[1:])).log()
    flat = log_p[1:, 0] - volume + 0.5 * (r[1:] / 0.8) ** 2
    close(flat, flat[:1].expand(1800), 1e-8, what="its logarithm but for the volume and the distance")
    u = f64([0.1, 0.5, 0.9])
    mass = (log_p.exp() * cell).sum(1).cumsum(0)
    at = torch.stack([mass[(r - d).abs().argmin()] for d in p.distances(u)])
    close(at, u, 0.01, what="distances of the draws")
