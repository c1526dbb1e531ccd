"""Exact checks of the objectives: by hand, by enumeration of coins, at the exact posterior."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent

from exact import check, close, design, f64, linear, normal
from vaelab import likelihoods
from vaelab.conditional import Conditional
from vaelab.models import VAE, Terms
from vaelab.networks import Linear
from vaelab.noise import Given, Noise
from vaelab.objectives import (
    DIP,
    IWAE,
    MMD,
    RAE,
    VIMCO,
    Adversarial,
    Capacity,
    CombinedIWAE,
    Factor,
    MonteCarloEM,
    Objective,
    PartialIWAE,
    Renyi,
    ReweightedWakeSleep,
    Score,
    SlicedWasserstein,
    TotalCorrelation,
    WakeSleep,
    elbo,
    iwae,
    multiply_iwae,
    sliced_wasserstein,
)
from vaelab.objectives.autoencoder import jacobian_norm
from vaelab.objectives.critic import permuted

K, B, Z = 6, 4, 2


def problem(**how: object) -> tuple[VAE, Tensor, Tensor]:
    o = linear(wrong=True, **how)  # type: ignore[arg-type]
    return o.model, normal(B, 5, seed=5), normal(K, B, Z, seed=6)


def terms_of(model: VAE, x: Tensor, eps: Tensor, **how: str) -> Terms:
    return model.terms(x, samples=len(eps), noise=Given([eps]), **how)


def gradient(value: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    parts = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return torch.cat([torch.zeros(p.numel()) if g is None else g.flatten() for p, g in zip(parameters, parts)])


@check
def bounds_of_weights_by_hand() -> None:
    """Groups of draws, mixtures of bounds, and powers of weights; groups of 2 and of 3 draws tell K from M."""
    model, x, eps = problem()
    t = terms_of(model, x, eps)
    w = t.log_w.exp()
    for groups in (2, 3):
        truth = w.reshape(groups, K // groups, B).mean(1).log().mean(0)
        close(multiply_iwae(t, groups), truth, what=f"{groups} groups of draws")
        losses, _ = PartialIWAE(K, groups)(model, x, noise=Given([eps]), step=0)
        close(losses["generative"], -w.mean(0).log(), what="partial, p")
        close(losses["recognition"], -truth, what="partial, q")
    mixed = 0.2 * elbo(t) + 0.8 * iwae(t)
    close(CombinedIWAE(K, weight=0.2).bound(t, 0), mixed, what="combined")
    assert t.log_qz is not None
    for step, beta in ((0, 0.2), (2, 0.6), (4, 1.0), (9, 1.0)):
        truth = (t.log_px + beta * (t.log_pz - t.log_qz)).exp().mean(0).log()
        close(IWAE(K, warmup=5).bound(t, step), truth, what=f"IWAE, warm-up at step {step}")
    for alpha in (-2.0, 0.0, 0.5, 3.0):
        truth = w.pow(1 - alpha).mean(0).log() / (1 - alpha)
        close(Renyi(alpha, K).bound(t, 0), truth, what=f"Rényi, alpha = {alpha}")
    close(Renyi(1.0, K).bound(t, 0), t.log_w.mean(0), what="Rényi, alpha = 1")
    close(Renyi(-math.inf, K).bound(t, 0), t.log_w.max(0).values, what="VR-max")
    owners = PartialIWAE(K, 2).owners(model)
    assert {id(p) for p in owners["recognition"]} == {id(p) for p in model.posterior.parameters()}, "q's owner"
    assert {id(p) for p in owners["generative"]} == {id(p) for p in model.likelihood.parameters()}, "p's owner"


@check
def dreg_weighs_twice() -> None:
    """The encoder gets w~² dlog w/dz dz/dphi, the decoder w~ dlog w/dtheta; the value is the bound."""
    model, x, eps = problem(scale="shared")
    losses, t = IWAE(K, gradient="dreg")(model, x, noise=Given([eps]), step=0)
    close(losses["model"], -t.log_w.exp().mean(0).log(), what="value")
    held = terms_of(model, x, eps, gradient="stopped")
    weight = held.log_w.detach().softmax(0)
    for part, factor in ((model.posterior, weight**2), (model.likelihood, weight)):
        parameters = list(part.parameters())
        truth = gradient(-(factor * held.log_w).sum(), parameters)
        close(gradient(losses["model"].sum(), parameters), truth, what=f"gradient of the {type(part).__name__}")
    o = linear("full")
    losses, _ = IWAE(K, gradient="dreg")(o.model, x, noise=Given([eps]), step=0)
    assert gradient(losses["model"].sum(), list(o.model.posterior.parameters())).abs().max() < 1e-10, "at the posterior"


class Coins(Conditional):
    """Coins whose logits a network, or nothing, gives."""

    def __init__(self, network: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.logits, self.latent_dim = network, nn.Parameter(f64([0.4, -0.9])), Z

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        logits = self.logits if self.network is None else self.network(given) + self.logits
        return Independent(Bernoulli(logits=logits), 1)


def coins() -> VAE:
    encoder, decoder = Linear(3, Z), Linear(Z, 3)
    for seed, network in enumerate((encoder, decoder)):
        network.map.weight.data, network.map.bias.data = (
            normal(*network.map.weight.shape, seed=seed),
            normal(len(network.map.bias), seed=seed + 9),
        )
    return VAE(prior=Coins(), posterior=Coins(encoder), likelihood=likelihoods.Bernoulli(decoder, (3,)))


def outcomes(number: int) -> Tensor:
    return torch.cartesian_prod(*[f64([0.0, 1.0])] * number)


def noise_of(z: Tensor) -> Tensor:
    return torch.where(z > 0.5, 1e-12, 1 - 1e-12)


@check
def score_gradients_by_enumeration() -> None:
    """Over all outcomes of K = 2 and 3 draws, probability times gradient sums to the exact gradient."""
    model, x = coins(), f64([1.0, 0.0, 1.0])
    parameters = list(model.parameters())
    for k, objective in ((2, Score(2, beta=1.7)), (3, Score(3)), (2, VIMCO(2)), (3, VIMCO(3))):
        z = outcomes(k * Z).reshape(-1, k, Z).transpose(0, 1)
        rows = x.expand(z.shape[1], 3)
        losses, t = objective(model, rows, noise=Given([noise_of(z)]), step=0)
        p = model.posterior(rows).log_prob(z).sum(0).exp()
        t = model.terms(rows, samples=k, noise=Given([noise_of(z)]))
        value = iwae(t) if isinstance(objective, VIMCO) else elbo(t, objective.beta)
        name = f"{type(objective).__name__}, {k} draws"
        close(losses["model"], -value, what=f"{name}: value")
        truth = gradient(-(p * value).sum(), parameters)
        close(gradient((p.detach() * losses["model"]).sum(), parameters), truth, what=f"{name}: gradient")


@check
def wake_and_sleep_by_enumeration() -> None:
    model, x = coins(), f64([1.0, 0.0, 1.0])
    z = outcomes(Z)
    p = list(model.prior.parameters()) + list(model.likelihood.parameters())
    q = list(model.posterior.parameters())
    both = outcomes(Z + 3)
    dream = [noise_of(both[:, :Z])[None], noise_of(both[:, Z:])[None]]
    rows = x.expand(len(both), 3)
    awake = z.repeat_interleave(8, 0)
    losses, _ = WakeSleep()(model, rows, noise=Given([noise_of(awake)[None], *dream]), step=0)
    weight = model.posterior(rows).log_prob(awake).exp().detach() / 8
    truth = -(weight * (model.prior().log_prob(awake) + model.decode(awake).log_prob(x))).sum()
    close(gradient((weight * losses["generative"]).sum(), p), gradient(truth, p), what="p awake")
    joint = (model.prior().log_prob(both[:, :Z]) + model.decode(both[:, :Z]).log_prob(both[:, Z:])).exp().detach()
    asleep = -model.posterior(both[:, Z:]).log_prob(both[:, :Z])
    close(losses["recognition"], asleep, what="q asleep")
    close(gradient((joint * losses["recognition"]).sum(), q), gradient((joint * asleep).sum(), q), what="q asleep")
    z = outcomes(3 * Z).reshape(-1, 3, Z).transpose(0, 1)[:, :32]
    log_q = model.posterior(rows).log_prob(z)
    w = (model.prior().log_prob(z) + model.decode(z).log_prob(x) - log_q).exp().detach()
    on_rows = -(w / w.sum(0) * log_q).sum(0)
    for phase, truth in (("wake", on_rows), ("sleep", asleep), ("both", (on_rows + asleep) / 2)):
        losses, _ = ReweightedWakeSleep(3, phase)(model, rows, noise=Given([noise_of(z), *dream]), step=0)
        close(losses["recognition"], truth, what=f"q, {phase}")
        close(gradient(losses["recognition"].sum(), q), gradient(truth.sum(), q), what=f"gradient of q, {phase}")
        close(losses["generative"], -w.mean(0).log(), what="p, reweighted")
    met: list[Tensor] = []
    seen = f64([1, 0, 1]).bool().expand(len(rows), 3)
    model.posterior.network.register_forward_pre_hook(lambda _, given: met.append(given[0]))
    WakeSleep()(model, rows, noise=Given([noise_of(awake)[None], *dream]), step=0, observed=seen)
    assert (met[-1][:, 1] == 0).all(), "a dream is not masked as its row is"


@check
def chains_of_monte_carlo_em() -> None:
    """At the exact posterior chains stay there; each draw serves five visits; every row has its own chain."""
    o = linear()
    n = 2000
    x, source = (o.m + normal(1, 5, seed=8)).expand(n, 5), Noise.seeded(3)
    objective = MonteCarloEM(2, leapfrog=3).double()
    objective.start(x, n)
    objective.log_step.fill_(0.4)  # so long that some are refused
    index, first = torch.arange(n).flip(0), None
    for visit in range(16):
        losses, terms = objective(o.model, x, noise=source, step=visit, index=index)
        close(losses["generative"], -(terms.log_px + terms.log_pz)[0], what="p")
        close(objective.codes[index], terms.z[0], what="the chains that are kept")
        close(losses["recognition"], -o.model.posterior(x).log_prob(terms.z)[0], what="q")
        objective.log_step.fill_(0.4)
        if visit % 5:
            close(terms.z, first, what="a draw serves five visits")
        else:
            assert first is None or not torch.equal(terms.z, first), "the fifth visit moves no chain"
        first = terms.z
    q = o.model.posterior(x[:1])  # exact
    z = objective.codes
    for power, truth in ((1, q.mean), (2, q.variance + q.mean**2)):
        moment, error = (z**power).mean(0), (z**power).std(0) / n**0.5
        assert ((moment - truth[0]).abs() < 5 * error).all(), f"moment {power}: {moment}, {truth[0]}"


@check
def the_kl_in_three_parts() -> None:
    """The mixture of all rows by hand; with other rows outside the batch, weights that sum to 1."""
    model, x, eps = problem()
    t = terms_of(model, x, eps)
    q = model.posterior(x)
    each = torch.distributions.Normal(q.mean, q.stddev).log_prob(t.z.unsqueeze(2))  # (K, i, j, Z)
    for rows in (B, 50):
        own, others = 1 / rows, (1 - 1 / rows) / (B - 1)
        weight = others + (own - others) * torch.eye(B).double()
        joint = (each.sum(-1).exp() * weight).sum(2).log()
        single = (each.exp() * weight.unsqueeze(-1)).sum(2).log().sum(-1)
        cost = 0.3 * (t.log_qz - joint) + 5 * (joint - single) + 2 * (single - t.log_pz)
        objective = TotalCorrelation(0.3, 5.0, 2.0, samples=K)
        objective.start(x, rows)
        close(objective.bound(t, 0), (t.log_px - cost).mean(0), what=f"beta-TC, {rows} rows")
        plain = TotalCorrelation(1.0, 1.0, 1.0, "weighted", K)
        plain.start(x, rows)
        close(plain.bound(t, 0), t.log_w.mean(0), what="the parts add up")
        weighted = TotalCorrelation(0.0, 0.0, 1.0, "weighted", K)
        weighted.start(x, rows)
        single = ((each.exp() / (rows * B)).sum(2).log()).sum(-1)
        close(weighted.bound(t, 0), (t.log_px - single + t.log_pz).mean(0), what="weighted by 1 / (N B)")


@check
def critics_by_hand() -> None:
    model, x, eps = problem()
    u, other = normal(K, B, Z, seed=1).sigmoid(), normal(K, B, Z)
    z = terms_of(model, x, eps).z
    shuffled = torch.stack([torch.stack([z[k, u[k, :, d].argsort(), d] for d in range(Z)], -1) for k in range(K)])
    close(permuted(z, Given([u])), shuffled, what="permuted dimensions")
    factor, adversarial = (kind(Z, 3.0, width=5, layers=1, samples=K).double() for kind in (Factor, Adversarial))
    losses, t = factor(model, x, noise=Given([eps, u]), step=0)
    mine, its = (torch.sigmoid(factor.critic(v)).squeeze(-1) for v in (z, shuffled))
    ratio = (mine / (1 - mine)).log()
    close(losses["model"], 3 * ratio.mean(0) - elbo(t), what="FactorVAE, model")
    close(losses["critic"], -(mine.log() + (1 - its).log()).mean(0), what="FactorVAE, critic")
    losses, t = adversarial(model, x, noise=Given([eps, other]), step=0)
    prior = 0.3 + 1.4 * other
    mine, its = (torch.sigmoid(adversarial.critic(v)).squeeze(-1) for v in (z, prior))
    close(losses["model"], -(t.log_px + 3 * mine.log()).mean(0), what="AAE, model")
    close(losses["critic"], -(its.log() + (1 - mine).log()).mean(0), what="AAE, critic")
    for objective in (factor, adversarial):
        losses, _ = objective(model, x, noise=Given([eps, u]), step=0)
        moved = gradient(losses["critic"].sum(), list(model.parameters()))
        assert moved.abs().max() == 0, f"{type(objective).__name__}: the critic's loss moves the model"
        assert objective.owners(model)["critic"], "a critic without an owner"


@check
def discrepancies_by_hand() -> None:
    model, x, eps = problem()
    other, u = normal(K, B, Z, seed=2), normal(1, 3, Z, seed=3)
    prior = 0.3 + 1.4 * other
    for kernel in ("imq", "rbf"):
        losses, t = MMD(2.0, 0.5, kernel, 0.7, K)(model, x, noise=Given([eps, other]), step=0)
        total = f64(0.0)
        for k in range(K):
            for i in range(B):
                for j in range(B):
                    for a, b, share in (
                        (t.z, t.z, (i != j) / (B * (B - 1))),
                        (prior, prior, (i != j) / (B * (B - 1))),
                        (t.z, prior, -2 / B**2),
                    ):
                        d = (a[k, i] - b[k, j]).square().sum() / (2 * Z * 0.7**2)
                        total = total + share * (1 / (1 + d) if kernel == "imq" else (-d).exp()) / K
        close(losses["model"].mean(), 2 * total - elbo(t, 0.5).mean(), what=f"MMD, {kernel}")
    shift = f64([0.4, -1.0])
    unit = torch.nn.functional.normalize(u[0], dim=-1)
    moved = (t.z + shift)[:, [2, 0, 3, 1]]
    close(sliced_wasserstein(t.z, moved, unit), (unit @ shift).square().mean().expand(K), what="a shift, sliced")
    losses, t = SlicedWasserstein(2.0, 0.0, 3, K)(model, x, noise=Given([eps, other, u]), step=0)
    truth = 2 * sliced_wasserstein(t.z, prior, unit).mean() - t.log_px.mean(0)
    close(losses["model"], truth, what="the sliced objective")


@check
def penalties_by_hand() -> None:
    """DIP's covariances, the capacity's schedule, the decoder's weights and its Jacobian."""
    model, x, eps = problem()
    t = terms_of(model, x, eps)
    q = model.posterior(x)
    means = q.mean - q.mean.mean(0)
    for kind, within in (("i", 0.0), ("ii", 1.0)):
        c = means.T @ means / B + within * torch.diag(q.variance.mean(0))
        truth = elbo(t) - 3 * 2 * c[0, 1] ** 2 - 7 * ((c.diagonal() - 1) ** 2).sum()
        close(DIP(kind, 3.0, 7.0, K).bound(t, 0), truth, what=f"DIP {kind}")
    for step, capacity in ((0, 0.5), (9, 5.0), (19, 10.0), (1000, 10.0)):
        truth = t.log_px.mean(0) - 30 * (t.kl_total.mean(0) - capacity).abs()
        close(Capacity(30.0, 10.0, 20, K).bound(t, step), truth, what=f"capacity at step {step}")
    weights = sum(p.square().sum() for p in model.likelihood.parameters())
    cost = 0.15 * t.z.square().sum(-1).mean(0) - t.log_px.mean(0)
    losses, _ = RAE(0.3, 0.05, samples=K)(model, x, noise=Given([eps]), step=0)
    close(losses["model"], cost + 0.05 * weights, what="RAE, weights")
    v = design(5, B)
    t = terms_of(model, x, normal(10, B, Z, seed=6))
    w = model.likelihood.network.map.weight
    close(jacobian_norm(t, Given([v])).mean(0), w.square().sum().expand(B), what="norm of the Jacobian")
    close(gradient(jacobian_norm(t, Given([v])).mean() / 2, [w]), w.flatten(), what="its gradient")
    losses, _ = RAE(0.3, 0.05, "gradient", 10)(model, x, noise=Given([normal(10, B, Z, seed=6), v]), step=0)
    cost = 0.15 * t.z.square().sum(-1).mean(0) - t.log_px.mean(0)
    close(losses["model"], cost + 0.025 * w.square().sum(), what="RAE, gradient")


@check
def every_objective_says_whether_it_couples_rows() -> None:
    """The loss of a row moves with another row exactly where it is said to."""
    model, x, eps = problem()
    u, moved = normal(K, B, Z, seed=1).sigmoid(), x.clone()
    moved[-1] += 1
    objectives: tuple[Objective, ...] = (
        TotalCorrelation(samples=K), Factor(Z, 3.0, width=5, layers=1, samples=K).double(), MMD(samples=K),
        SlicedWasserstein(projections=3, samples=K), DIP(samples=K), Capacity(samples=K), RAE(samples=K),
        Renyi(samples=K), Score(K), Adversarial(Z, 3.0, width=5, layers=1, samples=K).double(),
    )  # fmt: skip
    for objective in objectives:
        noise = [eps, u, u[:1, :3]]
        a, b = (objective(model, rows, noise=Given(noise), step=0)[0] for rows in (x, moved))
        same = all(torch.allclose(a[owner][:-1], b[owner][:-1], rtol=1e-12) for owner in a)
        assert same is not objective.couples_rows, f"{type(objective).__name__}: couples_rows"
