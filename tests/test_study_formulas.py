"""The formulas that the deck states, evaluated: each stands in its card as it is quoted here, and is true."""

from __future__ import annotations

import math

import torch

from exact import close, f64, generator
from vaelab import recipes
from vaelab.distributions import closed_form_kl
from vaelab.evaluation import active_units, evidence_rows
from vaelab.evaluation.quadrature import log_evidence
from vaelab.evaluation.rules import hermite, trapezoid
from vaelab.experiments import lab
from vaelab.experiments.linear import Process
from vaelab.experiments.nearest import coverage, distances
from vaelab.noise import Noise
from vaelab.study import bundled
from vaelab.training import Rows

N01 = torch.distributions.Normal(f64(0.0), f64(1.0))


def states(number: int, *formulas: str) -> None:
    """Assert that a card has these formulas, up to the width of blanks."""
    card = bundled().card(number)
    assert card is not None
    text = " ".join(card.full.split())
    for formula in formulas:
        assert " ".join(formula.split()) in text, f"card {number} no longer says {formula}"


def density(q: torch.distributions.Distribution, z: torch.Tensor) -> torch.Tensor:
    return q.log_prob(z).exp()


LINE = torch.linspace(-9, 9, 6001, dtype=torch.float64)  # a trapezoid rule on it is exact to rounding for what follows
STEP = (LINE[1] - LINE[0]).item()


def integral(values: torch.Tensor) -> torch.Tensor:
    return values.sum(-1) * STEP


def test_card_1_and_12_and_14_the_bound_and_its_gap() -> None:
    """z ~ N(0, 1), x | z ~ N(2z, 1): log p(x) is that of N(0, 5), the posterior N(2x / 5, 1 / 5)."""
    states(1, "log p(x) = ELBO(x) + KL(q(z | x) ‖ p(z | x))", "= E_q[log p(x | z)] − KL(q(z | x) ‖ p(z))")
    states(12, "log Z = E_q[log p~(z) − log q(z)] + KL(q ‖ p)")
    states(14, "KL(N(μ, diag σ²) ‖ N(0, I)) = ½ Σ_j (μ_j² + σ_j² − log σ_j² − 1)")
    x, mu, sigma = f64(1.3), f64(0.2), f64(0.6)
    q, posterior = torch.distributions.Normal(mu, sigma), torch.distributions.Normal(2 * x / 5, f64(0.2).sqrt())
    log_px = torch.distributions.Normal(2 * LINE, 1.0).log_prob(x)
    weight = density(q, LINE)
    elbo = integral(weight * (log_px + N01.log_prob(LINE) - q.log_prob(LINE)))
    gap = integral(weight * (q.log_prob(LINE) - posterior.log_prob(LINE)))
    close(elbo + gap, torch.distributions.Normal(f64(0.0), f64(5.0).sqrt()).log_prob(x), 1e-9, "log p(x)")
    kl = 0.5 * (mu**2 + sigma**2 - (sigma**2).log() - 1)
    close(integral(weight * log_px) - kl, elbo, 1e-9, "the two forms of the bound")
    ours = closed_form_kl(q, N01)
    assert ours is not None
    close(ours.squeeze(), kl, 1e-12, "the library's closed form")


def test_card_2_the_terms_of_two_families() -> None:
    states(2, "−Σ_j [x_j log π_j + (1 − x_j) log(1 − π_j)]", "‖x − m‖² / (2 s²) + (D/2) log(2π s²)")
    states(2, "with s fixed at √½")
    x, p = f64([1.0, 0.0, 1.0]), f64([0.3, 0.2, 0.9])
    bernoulli = torch.distributions.Bernoulli(p).log_prob(x).sum()
    close(-(x * p.log() + (1 - x) * (1 - p).log()).sum(), -bernoulli, 1e-12, "Bernoulli")
    for s in (0.7, 0.5**0.5):
        gaussian = torch.distributions.Normal(p, s).log_prob(x).sum()
        constant = 1.5 * math.log(2 * math.pi * s**2)
        close((x - p).square().sum() / (2 * s**2) + constant, -gaussian, 1e-12, "Gaussian")
    close(-gaussian - constant, (x - p).square().sum(), 1e-12, "squared error")


def test_card_3_the_two_sources_of_noise() -> None:
    """Four rows whose bound from one draw is a_i ± b_i with equal chances: every batch of two enumerated, L = 2."""
    states(3, "Var = (1/M) · (Var_i[ELBO(x_i)] + (1/L) · E_i[Var_ε(f)])")
    a, b = f64([0.0, 1.0, 3.0, -2.0]), f64([0.5, 2.0, 1.0, 0.1])
    one_row = (a.unsqueeze(1) + b.unsqueeze(1) * f64([1.0, 0.0, 0.0, -1.0])).flatten()  # mean of two draws
    batches = (one_row.unsqueeze(1) + one_row) / 2
    close(batches.var(correction=0), 0.5 * (a.var(correction=0) + 0.5 * b.square().mean()), 1e-12, "variance")
    close(batches.mean(), a.mean(), 1e-12, "mean")


def test_card_4_5_and_17_two_gradients() -> None:
    """d/d mu E_q[z²] = 2 mu by both estimators, in quadrature; E_q of the score is 0."""
    states(4, "∇_phi ELBO = E_q[(log p(x, z) − log q(z | x)) ∇_phi log q(z | x)]", "E_q[∇_phi log q] = 0")
    states(5, "z = μ_phi(x) + σ_phi(x) · ε, ε ~ N(0, I) (σ, the deviation, not σ²)")
    states(17, "∇_phi ELBO ≈ (1/L) Σ_l ∇_phi [log p(x, z_l) − log q_phi(z_l | x)], z_l = g_phi(ε_l, x)")
    mu, sigma = f64(0.7), f64(0.8)
    weight, score = density(torch.distributions.Normal(mu, sigma), LINE), (LINE - mu) / sigma**2
    close(integral(weight * LINE**2 * score), 2 * mu, 1e-9, "score function")
    close(integral(weight * score), 0.0, 1e-9, "mean score")
    close(integral(density(N01, LINE) * 2 * (mu + sigma * LINE)), 2 * mu, 1e-9, "through the draw")
    # the bound itself: p(x, z) = N(z; 0, 1), whose bound is -KL, with slope -mu
    log_w = N01.log_prob(LINE) - torch.distributions.Normal(mu, sigma).log_prob(LINE)
    close(integral(weight * log_w * score), -mu, 1e-9, "score function of the bound")


def test_card_6_each_principle_taken_away() -> None:
    """z ~ N(0, 1), x | z ~ N(w z + m, s²), q = N(mu, sigma²): the bound in closed form, and by quadrature."""
    states(
        6, "z = μ(x) + σ(x) · ε", "−E_q[log p(x | z)] + KL(q(z | x) ‖ p(z))", "Without an encoder (q = prior) the rate"
    )
    x, w, m, s = f64([1.3, -0.4, 2.2]), f64(0.9), f64(0.3), 0.7

    def bound(mu: torch.Tensor, sigma: float, prior: float = 1.0) -> torch.Tensor:
        q = torch.distributions.Normal(mu.unsqueeze(-1), f64(sigma))
        p, px = torch.distributions.Normal(f64(0.0), prior), torch.distributions.Normal(w * LINE + m, s)
        log_w = px.log_prob(x.unsqueeze(-1)) + p.log_prob(LINE) - q.log_prob(LINE)
        return integral(density(q, LINE) * log_w)

    # no encoder: the squared error of every decode is that of a constant at best, the mean of the data
    def error(w: float, m: torch.Tensor) -> torch.Tensor:
        return integral(density(N01, LINE) * (x.unsqueeze(-1) - w * LINE - m).square()).mean()

    close(error(0.0, x.mean()), x.var(correction=0), 1e-9, "squared error without an encoder")
    close(error(0.4, x.mean()), x.var(correction=0) + 0.16, 1e-9, "with a decoder that listens")
    assert error(0.0, x.mean() + 0.1) > error(0.0, x.mean())
    # no noise: the bound falls with log sigma, without an end
    mu = 0.5 * x
    by_hand = torch.distributions.Normal(w * mu + m, s).log_prob(x) - 0.5 * (w * 0.3 / s) ** 2
    kl = 0.5 * (mu**2 + 0.3**2 - math.log(0.3**2) - 1)
    close(bound(mu, 0.3), by_hand - kl, 1e-9, "the loss")
    for sigma in (0.1, 0.05):  # the reconstruction has a limit, the entropy has none
        rest = 0.5 * (1 + w**2 / s**2) * (sigma**2 - (sigma / 2) ** 2)
        close(bound(mu, sigma / 2) - bound(mu, sigma), (rest - math.log(2)).expand(3), 1e-9, "half of sigma")
    # another prior: by the change of the KL
    change = math.log(3) + 0.5 * (0.3**2 + mu**2) * (1 / 9 - 1)
    close(bound(mu, 0.3) - bound(mu, 0.3, prior=3.0), change, 1e-9, "prior N(0, 9)")


def test_card_8_the_loss_asks_about_codes_alone() -> None:
    """Σ ‖x - g(f(x))‖² of the library's autoencoder; a decoder that differs off the codes has the same loss."""
    states(8, "min over f, g of Σ_i ‖x_i − g(f(x_i))‖²", "The loss asks about g at the codes f(x_i) and nowhere else.")
    model, objective = recipes.autoencoder((3,), 1, hidden=(4,), likelihood=f"gaussian:scale={0.5**0.5}")
    model, x = model.double(), torch.randn(5, 3, generator=generator(4), dtype=lab.F64)
    codes = model.posterior(x).mean
    square = (x - model.decode(codes).mean).square().sum()
    loss = objective(model, x, noise=Noise(generator(1)), step=0)[0]["model"].sum()
    close(loss, square + 5 * 1.5 * math.log(math.pi), 1e-9, "loss, s² = 1/2")

    def other(z: torch.Tensor) -> torch.Tensor:
        return model.decode(z).mean + (z - codes.flatten()).prod(-1, keepdim=True)  # 0 at each code

    close((x - other(codes)).square().sum(), square, 1e-9, "loss of another decoder")
    far = torch.randn(100, 1, generator=generator(2), dtype=lab.F64)
    assert (other(far) - model.decode(far).mean).abs().max() > 0.1


def test_card_11_coverage_and_copies_by_hand() -> None:
    states(11, "the share of real rows that have a draw nearer than their own fifth nearest real row")
    real, made = (torch.randn(60, 2, generator=generator(seed), dtype=lab.F64) * s for seed, s in ((1, 1.0), (2, 0.4)))
    covered = 0
    for i in range(60):
        own = sorted(math.dist(real[i].tolist(), real[j].tolist()) for j in range(60) if j != i)
        covered += min(math.dist(real[i].tolist(), row.tolist()) for row in made) < own[4]
    assert 0 < covered < 60
    close(f64(coverage(real, made)), f64(covered / 60), 1e-12, "coverage")
    near = [min(math.dist(a.tolist(), b.tolist()) for b in real) for a in made]
    close(distances(made, real), f64(near), 1e-6, "distances to the nearest row")
    assert coverage(real, real) == 1.0, "a generator that returns training rows is perfect by the first"
    assert distances(real, real).max() < 1e-6, "and caught by the second"


def test_card_7_the_best_decode_is_a_weighted_average() -> None:
    states(7, "m*(z) = Σ_i q(z | x_i) x_i / Σ_i q(z | x_i)")
    x, centres = f64([0.0, 1.0, 5.0]), f64([-1.0, 0.5, 1.0])
    q = density(torch.distributions.Normal(centres.unsqueeze(1), 0.8), LINE)
    best = (q * x.unsqueeze(1)).sum(0) / q.sum(0)

    def loss(m: torch.Tensor) -> torch.Tensor:
        return integral(q * (x.unsqueeze(1) - m).square()).sum()

    for wave in (torch.sin(LINE), torch.cos(3 * LINE), torch.ones_like(LINE)):
        assert loss(best) < min(loss(best + 0.01 * wave), loss(best - 0.01 * wave))


def test_card_9_the_kl_in_two_parts() -> None:
    states(9, "mean_i KL(q(z | x_i) ‖ p(z)) = I_q(x; z) + KL(q(z) ‖ p(z))")
    mu, sigma = f64([[-1.0], [0.5], [2.0]]), f64([[0.5], [0.7], [0.4]])
    q = torch.distributions.Normal(mu, sigma)
    log_q = q.log_prob(LINE)
    log_mixture = log_q.logsumexp(0) - math.log(3)
    information = integral(log_q.exp() * (log_q - log_mixture)).mean()
    rest = integral(log_mixture.exp() * (log_mixture - N01.log_prob(LINE)))
    close(0.5 * (mu**2 + sigma**2 - (sigma**2).log() - 1).mean(), information + rest, 1e-8, "mean KL")


def test_card_10_and_16_active_units() -> None:
    """Independent columns of variances 4, 2, 0.5 and linear parts: as many units as eigenvalues above beta sigma²."""
    states(10, "Var_x(E_q[z_j | x]) > 0.01")
    states(16, "active units = number of j with λ_j > beta · σ²")
    rows = torch.randn(2000, 4, generator=generator(3), dtype=lab.F64)
    rows = torch.linalg.qr(rows - rows.mean(0))[0] * 2000**0.5 * f64([4.0, 2.0, 0.5, 0.1]).sqrt()
    model, objective = recipes.linear((4,), 3, likelihood="gaussian:scale=1.0")
    lab.train(model, rows.float(), steps=300, objective=objective, batch_size=400, lr=0.05, seed=0)
    assert active_units(evidence_rows(model, Rows(lab.data_of(rows.float())), samples=1).mean) == 2


def test_card_13_the_two_gaps() -> None:
    states(13, "log p(x) − ELBO(q_phi) = [log p(x) − ELBO(q*)] + [ELBO(q*) − ELBO(q_phi)]")


def test_card_15_weight_and_variance_are_one() -> None:
    states(15, "−‖x − m‖² / (2 s²) − beta · KL = beta · [−‖x − m‖² / (2 beta s²) − KL]")
    square, s2, kl, beta = 3.0, 0.4, 1.7, 0.3
    close(-square / (2 * s2) - beta * kl, beta * (-square / (2 * beta * s2) - kl), 1e-12, "objective")


def test_card_18_the_linear_process_and_its_rotations() -> None:
    states(18, "x = W z + m + s · ε   has   p(x) = N(m, W Wᵀ + s² I)")
    process = Process.random(5, 2, generator(1), s=0.6)
    x = process.rows(4, generator(2))
    turn = torch.linalg.qr(torch.randn(2, 2, generator=generator(5), dtype=lab.F64))[0]
    for w in (process.w, process.w @ turn):
        law = torch.distributions.MultivariateNormal(process.m, w @ w.T + 0.36 * torch.eye(5, dtype=lab.F64))
        close(law.log_prob(x), log_evidence(process.model(per_row=4), x, trapezoid(7.0, 201, 2)), 1e-9, "log p(x)")


def test_card_19_moments_of_draws() -> None:
    """A decoder with tanh, by quadrature over z and by draws, within five standard errors."""
    states(19, "Cov[x] = Cov_z[m(z)] + E_z[Cov(x | z)]", "E[x] = E_z[m(z)]")
    model, _ = recipes.vae((2,), 1, hidden=(5,), likelihood="gaussian:scale=0.5")
    with torch.no_grad():
        for parameter in model.likelihood.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator(8)))
        z, log_w = hermite(60, 1)
        m, weight = model.double().decode(z).mean, log_w.exp().unsqueeze(1)
        mean = (weight * m).sum(0)
        covariance = (weight * (m - mean)).T @ (m - mean) + 0.25 * torch.eye(2, dtype=lab.F64)
        x = model.generate(100_000, noise=Noise(generator(9)))
    products = (x - mean).unsqueeze(2) * (x - mean).unsqueeze(1)
    for drawn, truth in ((x, mean), (products.flatten(1), covariance.flatten())):
        error = drawn.std(0) / len(drawn) ** 0.5
        assert ((drawn.mean(0) - truth).abs() < 5 * error).all()
