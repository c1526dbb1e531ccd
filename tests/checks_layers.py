"""Exact checks of models with several stochastic layers: two linear-Gaussian ones, whose evidence is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from exact import check, close, generator, normal, unbounded
from vaelab import likelihoods, posteriors, priors
from vaelab.data import Dataset, Schema
from vaelab.evaluation import evidence_rows
from vaelab.models import VAE, Chain, Ladder, TopDown
from vaelab.networks import Linear
from vaelab.noise import Given, Noise, SharedNoise, stream
from vaelab.objectives import iwae
from vaelab.recipes import m2
from vaelab.training import Rows

DIMS, LOWER, UPPER, S1, S = 7, 3, 2, 0.7, 0.5


class TwoLayers:
    """z2 ~ N(0, I), z1 = A z2 + a + S1 noise, x = W z1 + m + S noise; the columns of W are orthogonal."""

    def __init__(self) -> None:
        self.a_matrix, self.a = normal(LOWER, UPPER, seed=1), normal(LOWER, seed=2)
        self.w = torch.linalg.qr(normal(DIMS, LOWER, seed=3))[0] * torch.tensor([1.7, 1.1, 0.6], dtype=torch.float64)
        self.m = normal(DIMS, seed=4)
        self.cov1 = self.a_matrix @ self.a_matrix.T + S1**2 * _eye(LOWER)
        self.cov = self.w @ self.cov1 @ self.w.T + S**2 * _eye(DIMS)

    @property
    def marginal(self) -> MultivariateNormal:
        """p(x)."""
        return MultivariateNormal(self.w @ self.a + self.m, self.cov)

    def given(self, cross: Tensor, mean: Tensor, prior: Tensor, about: Tensor, cov: Tensor) -> tuple[Tensor, ...]:
        """V, c, S of u | v = N(V v + c, S) for cov(u, v), E u, cov u, E v, cov v."""
        gain = cross @ cov.inverse()
        return gain, mean - gain @ about, prior - gain @ cross.T

    def link(self) -> nn.Module:
        """p(z1 | z2)."""
        part = posteriors.Gaussian(affine(self.a_matrix, self.a), LOWER, scale="constant").double()
        part.log_scale.data = unbounded(torch.full((LOWER,), S1, dtype=torch.float64).log())
        return part

    def likelihood(self) -> nn.Module:
        return likelihoods.Gaussian(affine(self.w, self.m), (DIMS,), scale=S)

    def chain(self, shift: float = 0.0) -> Chain:
        """With the exact q(z1 | x) and q(z2 | z1), their means moved by `shift`."""
        zero, one = torch.zeros(UPPER, dtype=torch.float64), _eye(UPPER)
        lower = self.given(self.cov1 @ self.w.T, self.a, self.cov1, self.w @ self.a + self.m, self.cov)
        upper = self.given(self.a_matrix.T, zero, one, self.a, self.cov1)
        q = [full(v, c + shift, s) for v, c, s in (lower, upper)]
        prior = priors.Gaussian(UPPER).double()
        return Chain(prior=prior, posteriors=q, links=[self.link()], likelihood=self.likelihood())  # type: ignore[arg-type]

    def ladder(self) -> TopDown:
        """With the exact q(z2 | x), and what x alone says of z1: N((W'W)^-1 W'(x - m), S² (W'W)^-1), diagonal."""
        zero, one = torch.zeros(UPPER, dtype=torch.float64), _eye(UPPER)
        cross = self.a_matrix.T @ self.w.T
        top = full(*self.given(cross, zero, one, self.w @ self.a + self.m, self.cov))
        scale = self.w.square().sum(0)
        lower = posteriors.Gaussian(affine(self.w.T / scale[:, None], -(self.m @ self.w) / scale), LOWER, "constant")
        lower = lower.double()
        lower.log_scale.data = unbounded((S / scale.sqrt()).log())
        levels = [Ladder(self.link(), lower), Ladder(priors.Gaussian(UPPER).double(), top)]  # type: ignore[arg-type]
        same = [affine(_eye(DIMS), torch.zeros(DIMS, dtype=torch.float64)) for _ in range(2)]
        return TopDown(encoders=same, levels=levels, likelihood=self.likelihood())  # type: ignore[arg-type]

    def gap(self, x: Tensor, shift: float) -> Tensor:
        """KL(q(z1, z2 | x) || p(z1, z2 | x)) of the shifted chain, from the joint Gaussians, (B,)."""
        joint = []
        for by in (shift, 0.0):
            q1, q2 = self.chain(by).posteriors
            v, c = q2.network.map.weight, q2.network.map.bias  # type: ignore[union-attr]
            d1, s2 = q1(x), q2(torch.zeros(1, LOWER, dtype=torch.float64)).covariance_matrix[0]
            s1 = d1.covariance_matrix[0]
            cov = torch.cat([torch.cat([s1, s1 @ v.T], 1), torch.cat([v @ s1, v @ s1 @ v.T + s2], 1)])  # type: ignore[union-attr]
            joint.append(MultivariateNormal(torch.cat([d1.mean, d1.mean @ v.T + c], 1), cov))  # type: ignore[union-attr]
        return kl_divergence(*joint).detach()


def _eye(n: int) -> Tensor:
    return torch.eye(n, dtype=torch.float64)


def affine(weight: Tensor, bias: Tensor) -> Linear:
    """Return networks.Linear with these weights."""
    network = Linear(weight.shape[1], weight.shape[0]).double()
    network.map.weight.data, network.map.bias.data = weight.clone(), bias.clone()
    return network


def full(weight: Tensor, bias: Tensor, cov: Tensor) -> nn.Module:
    """Return N(weight y + bias, cov) as a posterior."""
    size = len(cov)
    part = posteriors.FullGaussian(affine(weight, bias), size, scale="constant").double()
    factor = torch.linalg.cholesky(cov)
    row, column = torch.tril_indices(size, size, -1)
    part.factor.data = torch.cat([unbounded(factor.diagonal().log()), factor[row, column]])
    return part


def five_errors(values: Tensor, truth: Tensor, what: str) -> None:
    """Assert that the mean over draws, the first dimension, is within five standard errors of the truth."""
    error = values.std(0) / len(values) ** 0.5
    worst = ((values.mean(0) - truth) / error).abs().max().item()
    assert worst < 5, f"{what}: {worst:.1f} standard errors off, the largest is {error.max().item():.2g}"


@check
def two_layers_are_exact_at_the_exact_posterior() -> None:
    """Every draw's log w is log p(x), by the chain and by the ladder."""
    o, x = TwoLayers(), normal(5, DIMS, seed=9)
    truth = o.marginal.log_prob(x)
    for model in (o.chain(), o.ladder()):
        t = model.terms(x, samples=11, noise=Noise(generator(3)))
        close(t.log_w, truth.expand(11, -1), what=f"log w of {type(model).__name__}")
        close(t.log_w, t.log_px - t.log_qz + t.log_pz, what="its parts")
        close(iwae(t), truth, what="IWAE")


@check
def the_kl_of_layers_is_their_joint_kl() -> None:
    """E[sum of KLs] = E[log q - log p], and what is missing from log p(x) is the KL to the exact posterior."""
    o, x = TwoLayers(), normal(3, DIMS, seed=9)
    truth, gap = o.marginal.log_prob(x), o.gap(x, 0.3)
    t = o.chain(0.3).terms(x, samples=20_011, noise=Noise(generator(3)))
    with torch.no_grad():
        five_errors(t.log_px - t.kl_total, truth - gap, "ELBO of the chain by its KLs")
        five_errors(t.log_w, truth - gap, "ELBO of the chain by log w")
        five_errors((t.log_w - truth).exp(), torch.ones(3, dtype=torch.float64), "E[p(x, z) / q(z | x)] / p(x)")
        t = o.ladder().terms(x, samples=20_011, noise=Noise(generator(3)))
        five_errors(t.log_px - t.kl_total, truth, "ELBO of the ladder by its KLs")


@check
def layers_generate_what_they_say() -> None:
    """Mean and covariance of generated x are those of p(x)."""
    o = TwoLayers()
    for model in (o.chain(), o.ladder()):
        with torch.no_grad():
            x = model.generate(20_011, noise=Noise(generator(6)))
        centred = x - o.marginal.mean
        five_errors(x, o.marginal.mean, "mean of x")
        five_errors(centred[:, :, None] * centred[:, None, :], o.cov, "covariance of x")


@check
def codes_of_layers_are_moments_of_the_posterior() -> None:
    """mean_z and variance_z of an upper layer average over the draws of the one below."""
    o, x = TwoLayers(), normal(3, DIMS, seed=9)
    with torch.no_grad():
        t = o.chain().terms(x, samples=4001, noise=Noise(generator(3)))
        exact = o.given(
            o.a_matrix.T @ o.w.T, torch.zeros(UPPER, dtype=torch.float64), _eye(UPPER), o.w @ o.a + o.m, o.cov
        )
        q2 = t.q["z2"]  # type: ignore[index]
        five_errors(q2.mean, x @ exact[0].T + exact[1], "mean of z2")
        close(t.mean_z[:, LOWER:], q2.mean.mean(0), what="mean_z")
        between = (q2.mean - q2.mean.mean(0)).square()
        five_errors(between + q2.variance, exact[2].diagonal().expand(3, -1), "variance of z2")
        close(t.variance_z[:, LOWER:], (between + q2.variance).mean(0), what="variance_z")


@check
def a_conditional_linear_model_is_regression() -> None:
    """log p(x | c) of x = W z + U c + m + S noise, z ~ N(M c + a, exp(2 (V c + b))), at its exact posterior."""
    given, rows = 3, 5
    c, w, u, m = normal(rows, given, seed=1), normal(DIMS, UPPER, seed=2), normal(DIMS, given, seed=3), normal(DIMS)
    w = torch.linalg.qr(w)[0] * torch.tensor([1.5, 0.8], dtype=torch.float64)
    prior = priors.Conditioned(UPPER, given).double()
    prior.map.weight.data, prior.map.bias.data = normal(2 * UPPER, given, seed=5), normal(2 * UPPER, seed=6)
    prior.map.weight.data[UPPER:] = 0  # one deviation for all rows: the exact posterior is then affine in x and c
    p = prior(c)
    variance = p.variance[0].detach()
    decode = affine(torch.cat([w, u], 1), m)
    gain = variance[:, None] * w.T @ (w @ torch.diag(variance) @ w.T + S**2 * _eye(DIMS)).inverse()
    left = _eye(UPPER) - gain @ w  # E[z | x, c] = E[z | c] + gain (x - E[x | c])
    move, start = prior.map.weight.data[:UPPER], prior.map.bias.data[:UPPER]
    q = full(torch.cat([gain, left @ move - gain @ u], 1), left @ start - gain @ m, left @ torch.diag(variance))
    for network, inputs in ((decode, UPPER), (q.network, DIMS)):  # as networks that read a condition
        network.inputs, network.condition = (inputs,), given  # type: ignore[union-attr, assignment]
    model = VAE(prior=prior, posterior=q, likelihood=likelihoods.Gaussian(decode, (DIMS,), scale=S))  # type: ignore[arg-type]
    mean = p.mean @ w.T + c @ u.T + m
    marginal = MultivariateNormal(mean, w @ torch.diag(variance) @ w.T + S**2 * _eye(DIMS))
    x = normal(rows, DIMS, seed=8)
    t = model.terms(x, samples=11, condition=c, noise=Noise(generator(4)))
    close(t.log_w, marginal.log_prob(x).expand(11, -1).detach(), what="log p(x | c)")
    with torch.no_grad():
        drawn = model.generate(20_011, condition=c[:1].expand(20_011, -1), noise=Noise(generator(5)))
    five_errors(drawn, mean[0].detach(), "mean of x given c")


@check
def classes_are_summed_by_their_weights() -> None:
    """log sum_y p(x, y) from one draw for each class is that of the bounds of rows labelled with each class."""
    model, _ = m2((DIMS,), UPPER, classes=("a", "b", "c"), likelihood="gaussian", hidden=(11,))
    model, x, eps = model.double(), normal(5, DIMS, seed=2), normal(3, 5, UPPER, seed=3)
    with torch.no_grad():
        each = []
        for unit in _eye(3):
            t = model.terms(x, condition=unit.expand(5, -1), noise=Given([eps]))
            each.append(t.mean(t.log_w))
        t, log_q = model.terms(x, noise=Given([eps])), model.classifier(x).log_softmax(-1).T
        together = torch.stack(each)
        close(iwae(t), together.logsumexp(0), what="log sum_y")
        close(t.mean(t.log_w), (log_q.exp() * (together - log_q)).sum(0), what="ELBO over y")
        rows = Rows(Dataset(x, Schema(name="made", layout="array", shape=(DIMS,), values="real")), dtype=torch.float64)
        values = evidence_rows(model, rows, samples=70, shared=True)
        shared = SharedNoise(stream(0, "score"))
        close(values.evidence, iwae(model.terms(x, samples=70, noise=shared)), what="evidence")  # type: ignore[arg-type]
