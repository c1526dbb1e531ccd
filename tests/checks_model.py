"""Exact checks of densities, divergences, draws, bounds and gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MultivariateNormal, Normal, kl_divergence

from exact import bounded, check, close, design, f64, generator, linear, log_normal, normal, unbounded
from vaelab import likelihoods, posteriors, priors
from vaelab.distributions import DiscretizedLogistic, closed_form_kl, draw
from vaelab.models import VAE
from vaelab.networks import Linear
from vaelab.noise import Given, Noise, RowNoise, SharedNoise
from vaelab.objectives import ELBO, IWAE, elbo, iwae

POSTERIORS = ("network", "constant", "full", "full-constant")
SCALES = (0.6, "shared", "entry", "network", "optimal")


class Fixed(nn.Module):
    """A network that gives the same numbers whatever it reads."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values

    def forward(self, z: Tensor) -> Tensor:
        return self.values.expand(*z.shape[:-1], *self.values.shape)


@check
def linear_point_is_exact() -> None:
    """At the exact posterior every draw's log w, the IWAE and the ELBO are log p(x)."""
    for kind in POSTERIORS:
        for scale in SCALES if kind in ("network", "full") else (0.6,):
            o = linear(kind, scale, latent=3 if kind.startswith("full") else 2)
            latent, x = o.w.shape[1], normal(4, 5, seed=5)
            truth = o.marginal.log_prob(x)
            eps = design(latent, 4)
            t = o.model.terms(x, samples=len(eps), noise=Given([eps]))
            close(t.log_w, truth.expand(len(eps), -1), what=f"log w, {kind}, {scale}")
            close(iwae(t), truth, what="IWAE")
            close(elbo(t), truth, what="ELBO with the closed-form KL")


@check
def gap_is_the_kl_to_the_posterior() -> None:
    o = linear(wrong=True)
    x = normal(4, 5, seed=5)
    t = o.model.terms(x, samples=4, noise=Given([design(2, 4)]))
    mean = x @ o.a.T + o.b
    gap = kl_divergence(MultivariateNormal(mean, scale_tril=o.l), o.posterior(x))
    close(o.marginal.log_prob(x) - elbo(t), gap, what="log p(x) - ELBO, closed form")
    close(o.marginal.log_prob(x) - t.log_w.mean(0), gap, what="log p(x) - ELBO, sampled")
    log_px, log_pz, log_qz = o.by_hand(x, design(2, 4))
    close(t.log_px, log_px.sum(-1), what="log p(x | z)")
    close(t.log_pz, log_pz, what="log p(z)")
    close(t.log_qz, log_qz, what="log q(z | x)")


@check
def kl_agrees_with_torch() -> None:
    loc, scale = normal(4, 3), normal(4, 3, seed=1).exp()
    p = Normal(torch.full((3,), 0.4, dtype=torch.float64), f64([0.7, 1.0, 2.0]))
    q = Normal(loc, scale)
    close(closed_form_kl(Independent(q, 1), Independent(p, 1)), kl_divergence(q, p), what="diagonal KL")
    lower = torch.tril(0.3 * normal(4, 3, 3, seed=2), -1) + torch.diag_embed(scale)
    full, reference = (
        MultivariateNormal(loc, scale_tril=lower),
        MultivariateNormal(p.loc, torch.diag(p.scale**2)),
    )
    truth = kl_divergence(full, reference)[:, None]
    close(closed_form_kl(full, Independent(p, 1)), truth, what="full-covariance KL")
    close(closed_form_kl(full, reference.expand((4,))), truth, what="KL of two full Gaussians")


@check
def likelihoods_are_normalised() -> None:
    """Values against formulas written out, masses against one, integrals by the trapezoid rule."""
    z, logits = torch.zeros(1, 2, dtype=torch.float64), f64([-3.0, 0.2, 4.0])
    px = likelihoods.Bernoulli(Fixed(logits), (3,))(z)
    y = 1 / (1 + (-logits).exp())
    corners = torch.cartesian_prod(*[f64([0.0, 1.0])] * 3)
    truth = (corners * y.log() + (1 - corners) * (1 - y).log()).sum(-1)
    close(px.log_prob(corners), truth, what="Bernoulli")
    close(px.log_prob(corners).exp().sum(), 1.0, what="Bernoulli masses")
    logits = normal(2, 3)
    px = likelihoods.Categorical(Fixed(logits), (2,), 3)(z)
    pairs = torch.cartesian_prod(torch.arange(3), torch.arange(3)).double()
    close(px.log_prob(pairs).exp().sum(), 1.0, what="Categorical masses")
    grid = torch.linspace(-30, 30, 6001, dtype=torch.float64)[:, None]
    for scale, network in ((0.8, [0.5]), ("network", [[0.5], [unbounded(f64(-0.4)).item()]])):
        px = likelihoods.Gaussian(Fixed(f64(network)), (1,), scale)(z)
        sigma = 0.8 if scale == 0.8 else math.exp(-0.4)
        close(px.log_prob(grid), log_normal(grid[:, 0], 0.5, sigma), 1e-6, what="Gaussian")
        close(torch.trapezoid(px.log_prob(grid).exp(), grid[:, 0]), 1.0, 1e-6, what="Gaussian integral")
    for bins, low, high in ((256, 0.0, 1.0), (5, -1.0, 3.0)):
        for loc, raw in ((-0.6, -1.0), (0.1, 0.5), (0.45, -2.0)):
            network = Fixed(f64([[loc], [raw]]))
            px = likelihoods.DiscretizedLogistic(network, (1,), bins, low, high)(z)
            span, half = high - low, (high - low) / (bins - 1) / 2
            mu, s = low + span * (0.5 + loc), 0.1 * span * math.exp(bounded(f64(raw)).item())
            x = torch.linspace(low, high, bins, dtype=torch.float64)
            cdf = torch.sigmoid((x + half - mu) / s)
            cdf[-1] = 1
            mass = torch.diff(cdf, prepend=torch.zeros(1, dtype=torch.float64))
            close(px.log_prob(x[:, None]).exp(), mass, 1e-12, what="discretised logistic")
            close(px.log_prob(x[:, None]).exp().sum(), 1.0, 1e-12, what="masses")
            close(px.mean.squeeze(), (x * mass).sum(), what="mean of the discretised logistic")


@check
def draws_follow_the_density() -> None:
    """Evenly spaced uniforms give each value its mass; normals are loc + scale noise."""
    n = 4000
    u = ((torch.arange(n) + 0.5) / n).double()[:, None]
    logistic = DiscretizedLogistic(f64([0.7]), f64([0.4]), high=4.0, bins=5)
    categorical = Categorical(probs=f64([[0.1, 0.2, 0.3, 0.15, 0.25]]))
    coin = torch.distributions.Bernoulli(probs=f64([0.3]))
    for d, values in ((logistic, 5), (categorical, 5), (coin, 2)):
        x = draw(d, n, Given([u]))[:, 0]
        for value in range(values):
            mass = d.log_prob(f64([value])).exp().item()
            share = (x == value).double().mean().item()
            assert abs(share - mass) <= 1.5 / n, f"{type(d).__name__}: {value} drawn with share {share}, mass {mass}"
    eps, loc, scale = normal(3, 4, 2), normal(4, 2, seed=1), normal(4, 2, seed=2).exp()
    close(draw(Independent(Normal(loc, scale), 1), 3, Given([eps])), loc + scale * eps, what="Normal")
    lower = f64([[2.0, 0.0], [-0.7, 0.3]]).expand(4, 2, 2)
    full = draw(MultivariateNormal(loc, scale_tril=lower), 3, Given([eps]))
    close(full, loc + torch.einsum("bij,kbj->kbi", lower, eps), what="full Normal")


@check
def bounds_by_hand() -> None:
    """IWAE is log of the mean weight over exactly K draws, the ELBO the mean of logs; K above and below B."""
    o = linear(wrong=True)
    for k, rows in ((7, 3), (3, 7), (1, 4)):
        x, eps = normal(rows, 5, seed=5), normal(k, rows, 2, seed=6)
        log_px, log_pz, log_qz = o.by_hand(x, eps)
        log_w = log_px.sum(-1) + log_pz - log_qz
        losses, t = IWAE(k)(o.model, x, noise=Given([eps]), step=0)
        assert t.z.shape == (k, rows, 2), f"{tuple(t.z.shape)} draws where {k} were asked for"
        close(losses["model"], -log_w.exp().mean(0).log(), what="IWAE loss")
        kl = _kl(x @ o.a.T + o.b, o.l.diagonal(), o.loc, o.tau)
        losses, t = ELBO(beta=3.0, samples=k)(o.model, x, noise=Given([eps]), step=0)
        close(losses["model"], 3 * kl.sum(-1) - log_px.sum(-1).mean(0), what="beta-ELBO loss")
        assert t.samples == k, f"{t.samples} samples where {k} were asked for"


def _kl(mean: Tensor, deviation: Tensor, loc: float, tau: float) -> Tensor:
    return kl_divergence(Normal(mean, deviation.expand_as(mean)), Normal(f64(loc), f64(tau)))


@check
def warm_up_and_free_bits() -> None:
    o = linear(wrong=True)
    x, eps = normal(6, 5, seed=5), normal(2, 6, 2, seed=6)
    log_px = o.by_hand(x, eps)[0].sum(-1).mean(0)
    kl = _kl(x @ o.a.T + o.b, o.l.diagonal(), o.loc, o.tau)
    t = o.model.terms(x, samples=2, noise=Given([eps]))
    for step, weight in ((0, 0.2), (3, 0.8), (4, 1.0), (5, 1.0), (1000, 1.0)):
        close(ELBO(beta=2.0, warmup=5).bound(t, step), log_px - 2 * weight * kl.sum(-1), what=f"step {step}")
    close(ELBO(beta=2.0).bound(t, 0), log_px - 2 * kl.sum(-1), what="no warm-up")
    mean = kl.mean(0)
    bits = mean.mean().item()  # between the two dimensions: one is spent, one is free
    assert (mean > bits).sum() == 1
    assert kl.min() < bits < kl.max()
    truth = log_px - kl[:, mean.argmax()] - bits
    close(ELBO(free_bits=bits).bound(t, 0), truth, what="free bits")


@check
def gradients_match_finite_differences() -> None:
    o = linear(wrong=True, scale="shared")
    x, eps = normal(4, 5, seed=5), normal(3, 4, 2, seed=6)
    seen = normal(4, 5, seed=7) > -0.5
    parameters = list(o.model.parameters())
    direction = [normal(*p.shape, seed=8 + i) for i, p in enumerate(parameters)]
    for objective in (ELBO(samples=3), ELBO(beta=2.0, samples=3), IWAE(3)):
        for observed in (None, seen):

            def loss(objective: ELBO | IWAE = objective, observed: Tensor | None = observed) -> Tensor:
                return objective(o.model, x, noise=Given([eps]), step=0, observed=observed)[0]["model"].mean()

            slope = sum((g * d).sum() for g, d in zip(torch.autograd.grad(loss(), parameters), direction, strict=True))
            values = []
            for h in (1e-5, -2e-5, 1e-5):  # forth, back, and home again
                with torch.no_grad():
                    for p, d in zip(parameters, direction, strict=True):
                        p += h * d
                    values.append(loss())
            close(slope, (values[0] - values[1]) / 2e-5, 1e-6, what=f"slope of {objective}")


@check
def stopped_gradients_vanish_at_the_posterior() -> None:
    """Sticking the landing: at the exact posterior each draw's gradient for q is 0; pathwise it is not."""
    for kind in ("network", "full"):
        o = linear(kind)
        x, eps = normal(4, 5, seed=5), normal(3, 4, 2, seed=6)
        size = {}
        for gradient in ("stopped", "pathwise"):
            loss = ELBO(samples=3, gradient=gradient)(o.model, x, noise=Given([eps]), step=0)[0]["model"]
            g = torch.autograd.grad(loss.sum(), list(o.model.posterior.parameters()))
            size[gradient] = max(v.abs().max().item() for v in g)
        assert size["stopped"] < 1e-10 < 1e-3 < size["pathwise"], f"{kind}: {size}"
        t = o.model.terms(x, samples=3, noise=Given([eps]), gradient="score")
        assert (t.z.requires_grad, t.log_qz.requires_grad) == (False, True), "score: z is held, q is not"


@check
def masks_leave_cells_out() -> None:
    """log p(x | z) sums the observed cells; what stands in the others never matters."""
    o = linear(wrong=True)
    x, eps, seen = normal(4, 5, seed=5), normal(3, 4, 2, seed=6), normal(4, 5, seed=7) > -0.5
    assert 0 < seen.double().mean() < 1
    filled = torch.where(seen, x, 0.0)
    log_px, log_pz, log_qz = o.by_hand(filled, eps)
    truth = (log_px * seen).sum(-1)
    values = []
    for content in (0.0, 1e6, math.nan):
        t = o.model.terms(torch.where(seen, x, content), samples=3, observed=seen, noise=Given([eps]))
        close(t.log_px, truth, what=f"log p(x | z) with {content} in the masked cells")
        close(t.log_w, truth + log_pz - log_qz, what="log w")
        values.append(t.log_w)
    assert all(torch.equal(values[0], other) for other in values[1:]), "masked cells matter"
    everything = o.model.terms(x, samples=3, observed=torch.ones_like(seen), noise=Given([eps]))
    plain = o.model.terms(x, samples=3, noise=Given([eps]))
    close(everything.log_w, plain.log_w, what="a mask that masks nothing")


@check
def noise_is_shared_or_the_rows_own() -> None:
    like = torch.zeros((), dtype=torch.float64)
    for kind in ("normal", "uniform"):
        shared = getattr(SharedNoise(generator()), kind)((3, 5, 2), like)
        assert torch.equal(shared, shared[:, :1].expand_as(shared)), f"shared {kind} noise differs between rows"
        assert len(shared[:, 0].unique()) == 6, "shared noise repeats itself over draws"
        rows = getattr(RowNoise(0, range(5)), kind)((3, 5, 2), like)
        assert len(rows.unique()) == 30, f"row {kind} noise repeats itself"
        assert torch.equal(rows[:, [3, 1]], getattr(RowNoise(0, [3, 1]), kind)((3, 2, 2), like)), "not the row's own"
        for other in (RowNoise(0, range(5), 1), RowNoise(1, range(5))):
            assert not torch.isin(getattr(other, kind)((3, 5, 2), like), rows).any(), "blocks or seeds share noise"
    base = Noise(generator(4)).normal((2, 3, 2), like)
    close(Noise(generator(4)).scaled(0.3).normal((2, 3, 2), like), 0.3 * base, what="temperature")


@check
def generate_draws_x() -> None:
    """x = mu(z) + sigma noise with z = loc + temperature tau noise; the mean only where it is asked for."""
    o = linear()
    for temperature in (1.0, 0.5):
        like = torch.zeros((), dtype=torch.float64)
        noise = Noise(generator(3))
        eps, more = noise.normal((1, 4, 2), like)[0], noise.normal((1, 4, 5), like)[0]
        centre = (o.loc + temperature * o.tau * eps) @ o.w.T + o.m
        drawn = o.model.generate(4, temperature=temperature, noise=Noise(generator(3)))
        close(drawn, centre + o.s * more, what="draws")
        means = o.model.generate(4, temperature=temperature, noise=Noise(generator(3)), means=True)
        close(means, centre, what="means")


@check
def optimal_variance_is_the_mean_square() -> None:
    o = linear(scale="optimal")
    x, eps, seen = normal(4, 5, seed=5), normal(3, 4, 2, seed=6), normal(4, 5, seed=7) > 0
    for observed in (None, seen):
        o.model.likelihood.variance.fill_(0.36)
        t = o.model.terms(x, samples=3, observed=observed, noise=Given([eps]))
        where = torch.ones_like(x, dtype=torch.bool) if observed is None else observed
        error = (torch.where(where, x, 0.0) - t.z @ o.w.T - o.m).square()[:, where].mean()
        o.model.likelihood.update(t)
        close(o.model.likelihood.variance, 0.95 * 0.36 + 0.05 * error, what="running variance")
    before, nothing = o.model.likelihood.variance.clone(), torch.zeros_like(x, dtype=torch.bool)
    o.model.likelihood.update(o.model.terms(x, samples=3, observed=nothing, noise=Given([eps])))
    close(o.model.likelihood.variance, before, what="variance after a batch without observed cells")


@check
def posterior_scales_are_exponentials() -> None:
    raw = f64([0.1, -0.2, unbounded(f64(-1.5)).item(), 0.0])
    q = posteriors.Gaussian(Fixed(raw), 2)(torch.zeros(3, 2, dtype=torch.float64))
    close(q.stddev[0], f64([math.exp(-1.5), 1.0]), what="sigma")
    p = priors.Gaussian(2, 0.5, 3.0).double()()
    close(p.mean, f64([0.5, 0.5]), what="prior mean")
    close(p.stddev, f64([3.0, 3.0]), what="prior deviation")
    model = VAE(
        prior=priors.Gaussian(2),
        posterior=posteriors.Gaussian(Linear(3, 4), 2),
        likelihood=likelihoods.Bernoulli(Linear(2, 3), (3,)),
    ).double()
    t = model.terms(torch.ones(2, 3).double(), samples=2, noise=Given([normal(2, 2, 2)]))
    y = torch.sigmoid(model.likelihood.network(t.z))
    close(t.log_px, y.log().sum(-1), what="Bernoulli log p(x | z)")
