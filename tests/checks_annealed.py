"""Exact checks of annealed importance sampling, quadrature and the gaps."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch.distributions import MultivariateNormal, kl_divergence

from exact import check, close, f64, linear, normal, real_rows
from vaelab.evaluation.annealed import Bridge, anneal, annealed_rows, ladder, simulated
from vaelab.evaluation.gaps import inference_gaps
from vaelab.evaluation.quadrature import quadrature
from vaelab.noise import Noise


@check
def ladder_goes_from_start_to_end() -> None:
    """b_0 = 0, b_T = 1, even about the middle, slow at both ends."""
    betas = ladder(8)
    assert (betas[0], betas[-1], len(betas)) == (0.0, 1.0, 9)
    assert all(a < b for a, b in pairwise(betas))
    close(f64(betas) + f64(betas[::-1]), torch.ones(9).double(), what="b_t + b_(T - t)")
    close(betas[2], (1 / (1 + math.exp(2)) - 1 / (1 + math.exp(4))) / math.tanh(2), what="b_2")


@check
def moves_leave_the_density_as_it_is() -> None:
    """Draws of f_b stay draws of f_b: mean and variance after moves whose steps are so long that many are refused."""
    beta, K, B = 0.4, 400, 211
    # N(0, 1) to N(0, 1) N(2; z, 0.5²): f_b is a Gaussian of precision 1 + b / 0.25
    bridge = Bridge(lambda z: (-0.5 * z.square().sum(-1), -2 * (z - 2).square().sum(-1)), leapfrog=3)
    precision = 1 + 4 * beta
    mean = 4 * beta * 2 / precision
    z = mean + normal(K, B, 1, seed=1) / math.sqrt(precision)
    noise, chances = Noise.seeded(2), []
    for _ in range(6):
        z, extra, chance = bridge.move(z, beta, torch.full((B,), 1.05).double(), noise)
        chances.append(chance.mean().item())
    assert 0.3 < chances[0] < 0.95, f"accepted {chances[0]:.2f}: the case does not tell"
    close(extra, -2 * (z - 2).square().sum(-1), what="what comes with z")
    for power, truth in ((1, mean), (2, mean**2 + 1 / precision)):
        moment = (z**power).flatten()
        error = moment.std().item() / math.sqrt(K * B)  # chains do not know of each other
        assert abs(moment.mean().item() - truth) < 5 * error < 0.05, f"moment {power}: {moment.mean():.3f}, {truth:.3f}"


@check
def one_temperature_is_importance_sampling() -> None:
    """T = 1: log p(x | z) at draws of the prior; a start at the exact posterior has weights without spread."""
    o = linear()
    rows = real_rows(normal(7, 5, seed=3) + o.m)
    truth = o.marginal.log_prob(rows.data)
    found = annealed_rows(o.model, rows, temperatures=1, chains=3, start="posterior")
    close(found.lower, truth, 1e-9, what="from the exact posterior")
    assert found.upper is None
    moved = annealed_rows(o.model, rows, temperatures=2, chains=3, leapfrog=2, start="posterior")
    close(moved.lower, truth, 1e-9, what="from the exact posterior, with moves")


@check
def annealing_brackets_the_evidence() -> None:
    """Rows simulated from a linear model: lower <= log p(x) <= upper within five errors, and close to one another."""
    o = linear(scale=2.0, wrong=True)
    o.s = torch.full((5,), 2.0, dtype=torch.float64)
    rows, z = simulated(o.model, real_rows(normal(2, 5)), 60)
    truth = o.marginal.log_prob(rows.data)
    found = annealed_rows(o.model, rows, temperatures=30, chains=5, leapfrog=2, exact_z=z)
    assert found.upper is not None
    for name, gap, sign in (("lower", found.lower - truth, 1), ("upper", found.upper - truth, -1)):
        error = gap.std().item() / math.sqrt(len(gap))
        assert sign * gap.mean().item() < 4 * error, f"{name} is off by {gap.mean():.4f} ± {error:.4f}"
        assert abs(gap.mean().item()) < 0.05, f"{name} is off by {gap.mean():.4f} ± {error:.4f}"
        assert error < 0.01, f"{name}: error {error:.4f}"
    assert 0.6 < found.acceptance < 0.95, f"accepted {found.acceptance:.2f}"


@check
def weights_are_unbiased() -> None:
    """E[w] = p(x) up the ladder, E[1 / w] = 1 / p(x) down it, however few and bad the moves: 4 temperatures."""
    K, x = 40_000, 1.5  # N(0, 1), and x | z ~ N(z, 1)
    bridge = Bridge(lambda z: (-0.5 * z.square().sum(-1), -0.5 * (x - z).square().sum(-1)), leapfrog=2)
    betas = ladder(4)
    steps = {b: torch.full((1,), 1.2).double() for b in betas}
    log_ratio = -x * x / 4 - 0.5 * math.log(2)  # of the normalisers: N(x; 0, 2) sqrt(2 pi)
    up, chance = anneal(bridge, normal(K, 1, 1, seed=5), betas, steps, Noise.seeded(6))
    down, _ = anneal(bridge, x / 2 + math.sqrt(0.5) * normal(K, 1, 1, seed=7), betas[::-1], steps, Noise.seeded(8))
    assert chance < 0.95, "every move is accepted: the case does not tell"
    for name, weight in (("up", (up - log_ratio).exp()), ("down", (down + log_ratio).exp())):
        error = weight.std().item() / math.sqrt(K)
        assert abs(weight.mean().item() - 1) < 5 * error < 0.03, f"{name}: {weight.mean():.4f} ± {error:.4f}, not 1"


@check
def simulated_rows_know_their_z() -> None:
    """x - W z - m is the noise of the decoder, of deviation 0.05."""
    o = linear(scale=0.05)
    rows, z = simulated(o.model, real_rows(normal(2, 5)), 300)
    rest = (rows.data - z @ o.w.T - o.m) / 0.05
    assert abs(rest.var().item() - 1) < 5 * math.sqrt(2 / 1500), f"variance {rest.var():.3f} of the decoder's, not 1"
    assert abs(z.mean().item() - o.loc) < 5 * o.tau / math.sqrt(600), "z is not of the prior"


@check
def gaps_of_the_linear_model() -> None:
    """The best diagonal q has the exact mean and 1 / sqrt(diag precision): the gaps are KLs in closed form."""
    o = linear(wrong=True)
    o.w = torch.stack([o.w[:, 0], 0.9 * o.w[:, 0] + 0.6 * o.w[:, 1]], 1)  # what the two latents do is much alike
    o.model.likelihood.network.map.weight.data = o.w.clone()
    x = o.m + normal(9, 5, seed=9)
    found = inference_gaps(o.model, real_rows(x), samples=2000, temperatures=2, chains=2)
    posterior = o.posterior(x)
    precision = torch.linalg.inv(posterior.covariance_matrix)
    best = MultivariateNormal(posterior.mean, torch.diag_embed(1 / precision.diagonal(dim1=-2, dim2=-1)))
    own = MultivariateNormal(x @ o.a.T + o.b, scale_tril=o.l.expand(9, 2, 2))
    approximation, all_of_it = kl_divergence(best, posterior).mean(), kl_divergence(own, posterior).mean()
    assert all_of_it > 2 * approximation > 0.02, "the case does not tell"
    for name, value, truth in (
        ("approximation", found.approximation.value, approximation),
        ("inference", found.inference.value, all_of_it),
        ("amortisation", found.amortisation.value, all_of_it - approximation),
    ):
        # log w has a deviation of about sqrt(2 KL) at each of 9 x 2,000 draws
        error = math.sqrt(2 * all_of_it.item() / 18000)
        assert abs(value - truth.item()) < 5 * error < 0.06, f"{name} gap {value:.4f}, closed form {truth:.4f}"
    assert found.kind == "iwae"


@check
def quadrature_of_the_linear_model() -> None:
    """Both rules give the closed form to 1e-8, whatever q is, in one and two dimensions, and with entries unseen."""
    for o in (linear(wrong=True), linear(wrong=True, latent=1)):
        x = o.m + normal(3, 5, seed=9)
        found = quadrature(o.model, real_rows(x))
        close(found.log_px, o.marginal.log_prob(x), 1e-9, what="log p(x)")
        assert found.apart.max() < 1e-8, f"the rules differ by {found.apart.max():.2g}"
    seen = torch.tensor([True, False, True, True, False]).expand(3, 5)
    part = MultivariateNormal(o.marginal.mean[seen[0]], o.marginal.covariance_matrix[seen[0]][:, seen[0]])
    found = quadrature(o.model, real_rows(x, observed=seen))
    close(found.log_px, part.log_prob(x[:, seen[0]]), 1e-9, what="log p of the seen entries")
