"""Models whose answers are known: linear-Gaussian in closed form, one or two latents by quadrature.

Everything here is numpy and scipy in float64 and shares no formula with the package; only `vae()` and the helpers
at the end build package objects, with exactly these weights.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_expit, logsumexp
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from vaelab import likelihoods, networks, posteriors, priors
from vaelab.data import Dataset, Schema
from vaelab.models import VAE
from vaelab.noise import Given, Noise
from vaelab.training import Rows

Array = np.ndarray
F64 = torch.float64


def bounded(raw: Array | float, bound: float = 10.0) -> Any:
    """(2 bound / pi) arctan(pi raw / (2 bound)): how a log-deviation is kept within ±bound."""
    slope = math.pi / (2 * bound)
    return np.arctan(slope * raw) / slope


def unbounded(y: Array | float, bound: float = 10.0) -> Array:
    """Solve y = (2 bound / pi) arctan(pi raw / (2 bound)) for raw."""
    slope = math.pi / (2 * bound)
    return np.tan(slope * np.asarray(y, dtype=float)) / slope


def tensor(a: Array | float) -> Tensor:
    return torch.as_tensor(np.array(a, dtype=float), dtype=F64)


def assign(parameter: Tensor, value: Array | float) -> None:
    with torch.no_grad():
        value = tensor(value)
        assert parameter.shape == value.shape, (parameter.shape, value.shape)
        parameter.copy_(value)


@dataclass
class LinearGaussian:
    """z ~ N(0, I_q), x | z ~ N(W z + m, s2 I_d): probabilistic PCA (Tipping & Bishop 1999). All of it is exact."""

    W: Array  # (d, q)
    m: Array  # (d,)
    s2: float

    @classmethod
    def fit(cls, x: Array, q: int) -> LinearGaussian:
        """The maximum of the likelihood: s2 the mean of the left-out eigenvalues, W = U (L - s2)^1/2."""
        values, vectors = spectrum(x)
        s2 = values[q:].mean()
        return cls(vectors[:, :q] * np.sqrt(values[:q] - s2), x.mean(0), float(s2))

    @classmethod
    def random(cls, d: int, q: int, seed: int = 0, s2: float = 0.4, orthogonal: bool = True) -> LinearGaussian:
        """Random parameters; with `orthogonal` columns of W the exact posterior is diagonal."""
        rng = np.random.default_rng(seed)
        W = rng.normal(size=(d, q))
        if orthogonal:
            W = np.linalg.qr(W)[0] * np.linspace(1.7, 0.6, q)
        return cls(W, rng.normal(size=d), s2)

    def rotated(self, seed: int = 1) -> LinearGaussian:
        """The same p(x) with W R: the posterior is no longer diagonal."""
        q = self.W.shape[1]
        R = np.linalg.qr(np.random.default_rng(seed).normal(size=(q, q)))[0]
        return LinearGaussian(self.W @ R, self.m, self.s2)

    @property
    def C(self) -> Array:
        return self.W @ self.W.T + self.s2 * np.eye(len(self.m))

    def sample(self, n: int, seed: int = 0) -> Array:
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(n, self.W.shape[1]))
        return z @ self.W.T + self.m + math.sqrt(self.s2) * rng.normal(size=(n, len(self.m)))

    def log_px(self, x: Array, seen: Array | None = None) -> Array:
        """log p(x) of each row, over the columns in `seen` (a bool vector)."""
        seen = np.ones(len(self.m), bool) if seen is None else seen
        mvn = multivariate_normal(self.m[seen], self.C[np.ix_(seen, seen)])
        return np.atleast_1d(mvn.logpdf(x[:, seen]))

    def encoder(self, seen: Array | None = None) -> tuple[Array, Array, Array]:
        """V (q, d), c (q,), S (q, q) with p(z | x_seen) = N(V x + c, S); V is zero where x is not seen."""
        d, q = self.W.shape
        seen = np.ones(d, bool) if seen is None else seen
        Wo = self.W * seen[:, None]
        M = Wo.T @ Wo + self.s2 * np.eye(q)
        V = np.linalg.solve(M, Wo.T)
        return V, -V @ self.m, self.s2 * np.linalg.inv(M)

    def posterior(self, x: Array) -> tuple[Array, Array]:
        """Mean (N, q) and covariance (q, q) of p(z | x)."""
        V, c, S = self.encoder()
        return x @ V.T + c, S

    def conditional(self, x: Array, seen: Array) -> tuple[Array, Array]:
        """Mean (N, missing) and covariance of the unseen entries given the seen."""
        gain = self.C[np.ix_(~seen, seen)] @ np.linalg.inv(self.C[np.ix_(seen, seen)])
        mean = self.m[~seen] + (x[:, seen] - self.m[seen]) @ gain.T
        return mean, self.C[np.ix_(~seen, ~seen)] - gain @ self.C[np.ix_(seen, ~seen)]

    def reconstruction(self, x: Array, mean: Array, S: Array) -> Array:
        """E[log p(x | z)] of each row, z ~ N(mean, S)."""
        error = ((x - mean @ self.W.T - self.m) ** 2).sum(1) + np.trace(self.W @ S @ self.W.T)
        return -0.5 * len(self.m) * math.log(2 * math.pi * self.s2) - 0.5 * error / self.s2

    def vae(
        self,
        posterior: str = "diagonal",
        *,
        encoder: tuple[Array, Array, Array] | None = None,
        scale: float | str = "shared",
    ) -> VAE:
        """A float64 model with exactly these weights.

        posterior "diagonal": deviations 1 / sqrt(diag S^-1), the best that a diagonal can do (exact if S is diagonal);
        "full": exact for any S. `encoder` replaces (V, c, S).
        """
        d, q = self.W.shape
        V, c, S = encoder or self.encoder()
        decode, encode = networks.Linear(q, d), networks.Linear(d, q)
        family = {"diagonal": posteriors.Gaussian, "full": posteriors.FullGaussian}[posterior]
        model = VAE(
            prior=priors.Gaussian(q),
            posterior=family(encode, q, scale="constant"),
            likelihood=likelihoods.Gaussian(decode, (d,), scale=scale),
        ).double()
        assign(decode.map.weight, self.W)
        assign(decode.map.bias, self.m)
        assign(encode.map.weight, V)
        assign(encode.map.bias, c)
        if posterior == "diagonal":
            assign(model.posterior.log_scale, unbounded(-0.5 * np.log(np.diag(np.linalg.inv(S)))))
        else:
            L = np.linalg.cholesky(S)
            below = L[tuple(torch.tril_indices(q, q, -1).numpy())]
            assign(model.posterior.factor, np.concatenate([unbounded(np.log(np.diag(L))), below]))
        if scale == "shared":
            assign(model.likelihood.log_scale, unbounded(0.5 * math.log(self.s2)))
        return model


def spectrum(x: Array) -> tuple[Array, Array]:
    """Eigenvalues (largest first) and vectors of the covariance with divisor N."""
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    return values[::-1], vectors[:, ::-1]


def gaussian_kl(mean: Array, S: Array, mean_p: Array, S_p: Array) -> Array:
    """KL(N(mean, S) || N(mean_p, S_p)) of each row, means (N, k)."""
    P = np.linalg.inv(S_p)
    delta = mean_p - mean
    log_det = np.linalg.slogdet(S_p)[1] - np.linalg.slogdet(S)[1]
    return 0.5 * (np.trace(P @ S) + np.einsum("ni,ij,nj->n", delta, P, delta) - len(S) + log_det)


def relative_variance(a: Array, A: Array, b: Array, B: Array) -> Array:
    """Var of p / q under q, for rows of p = N(a, A) and q = N(b, B): chi2(p || q)."""
    P, Q = np.linalg.inv(A), np.linalg.inv(B)
    S = 2 * P - Q
    assert np.linalg.eigvalsh(S).min() > 0, "the weights have no variance"
    h = 2 * a @ P - b @ Q
    log = np.linalg.slogdet(P)[1] - 0.5 * np.linalg.slogdet(Q)[1] - 0.5 * np.linalg.slogdet(S)[1]
    log = log + 0.5 * np.einsum("ni,ij,nj->n", h, np.linalg.inv(S), h)
    return np.expm1(log - np.einsum("ni,ij,nj->n", a, P, a) + 0.5 * np.einsum("ni,ij,nj->n", b, Q, b))


# ---- one and two latents


def affine(network: nn.Module) -> list[tuple[Array, Array]]:
    """The weights of a network's affine maps, in order."""
    maps = [m for m in network.modules() if isinstance(m, nn.Linear)]
    return [(m.weight.detach().double().numpy(), m.bias.detach().double().numpy()) for m in maps]


def tanh_mlp(network: nn.Module, x: Array) -> Array:
    """networks.MLP(activation="tanh") in numpy, output flat."""
    *hidden, last = affine(network)
    for W, b in hidden:
        x = np.tanh(x @ W.T + b)
    return x @ last[0].T + last[1]


class Quadrature:
    """Exact log p(x), posterior and ELBO of a VAE with 1 or 2 latents and a tanh MLP decoder, by a dense grid.

    Bernoulli likelihood, or Gaussian with a shared or fixed scale; standard normal prior; diagonal Gaussian posterior
    from a tanh MLP encoder. The trapezoid rule is exact to rounding for smooth functions that vanish at the ends.
    """

    def __init__(self, model: VAE, x: Array, reach: float = 9.0, points: int | None = None) -> None:
        self.model, self.x = model, x
        self.dim = model.prior.latent_dim
        points = points or {1: 6001, 2: 301}[self.dim]
        axis = np.linspace(-reach, reach, points)
        self.z = np.stack(np.meshgrid(*[axis] * self.dim, indexing="ij"), -1).reshape(-1, self.dim)
        self.log_cell = self.dim * math.log(axis[1] - axis[0])
        self.log_joint = self.log_lik(self.z) - 0.5 * (self.z**2).sum(1) - 0.5 * self.dim * math.log(2 * math.pi)
        self.log_px = logsumexp(self.log_joint, 1) + self.log_cell  # (N,)
        self.log_posterior = self.log_joint - self.log_px[:, None]  # (N, grid)
        out = tanh_mlp(model.posterior.network, x)
        raw = out[:, self.dim :]
        self.mean, self.deviation = out[:, : self.dim], np.exp(bounded(raw))
        u = (self.z - self.mean[:, None]) / self.deviation[:, None]
        log_norm = np.log(self.deviation).sum(1) + 0.5 * self.dim * math.log(2 * math.pi)
        self.log_q = -0.5 * (u**2).sum(-1) - log_norm[:, None]

    def log_lik(self, z: Array) -> Array:
        """log p(x_n | z_g), (N, grid)."""
        out, x = tanh_mlp(self.model.likelihood.network, z), self.x
        if isinstance(self.model.likelihood, likelihoods.Bernoulli):
            return x @ log_expit(out).T + (1 - x) @ log_expit(-out).T
        scale = self.model.likelihood.scale
        if scale == "shared":
            raw = self.model.likelihood.log_scale.item()
            scale = math.exp(bounded(raw))
        square = (x**2).sum(1)[:, None] - 2 * x @ out.T + (out**2).sum(1)
        return -0.5 * square / scale**2 - x.shape[1] * (math.log(scale) + 0.5 * math.log(2 * math.pi))

    def expectation(self, values: Array) -> Array:
        """E_q of values (N, grid)."""
        return (np.exp(self.log_q + self.log_cell) * values).sum(1)

    @property
    def elbo(self) -> Array:
        return self.expectation(self.log_joint - self.log_q)

    @property
    def kl_to_posterior(self) -> Array:
        return self.expectation(self.log_q - self.log_posterior)


def hermite(n: int, dim: int) -> tuple[Array, Array]:
    """Nodes (n^dim, dim) and log-weights of the Gauss-Hermite rule for N(0, I)."""
    x, w = np.polynomial.hermite_e.hermegauss(n)
    z = np.stack(np.meshgrid(*[x] * dim, indexing="ij"), -1).reshape(-1, dim)
    log_w = np.stack(np.meshgrid(*[np.log(w / w.sum())] * dim, indexing="ij"), -1).reshape(-1, dim).sum(1)
    keep = log_w > -80
    return z[keep], log_w[keep]


# ---- package objects


def given(*arrays: Array | Tensor) -> Given:
    return Given([torch.as_tensor(a, dtype=F64) for a in arrays])


def noise(seed: int = 0) -> Noise:
    return Noise.seeded(seed)


def schema(shape: tuple[int, ...], **arguments: object) -> Schema:
    return Schema(**{"name": "made", "layout": "array", "shape": shape, "values": "real", **arguments})


def dataset(
    x: Array | Tensor, *, observed: Array | None = None, condition: Array | None = None, **arguments: object
) -> Dataset:
    """Rows of real values in the model's units, unless the arguments of the schema say otherwise."""
    x, observed = torch.as_tensor(x), None if observed is None else torch.as_tensor(observed)
    given = None if condition is None else tensor(condition)
    return Dataset(x, schema(tuple(x.shape[1:]), **arguments), observed, condition=given)


def rows(
    x: Array | Tensor,
    *,
    observed: Array | None = None,
    condition: Array | None = None,
    dtype: torch.dtype = F64,
    **arguments: object,
) -> Rows:
    """The same as the model takes them."""
    return Rows(dataset(x, observed=observed, condition=condition, **arguments), dtype=dtype)


def table(name: str, drop: str) -> Dataset:
    """A real table of VAELAB_DATA, its numeric columns standardised by all rows; skips the test where it is missing."""
    from vaelab.data import open_source

    for folder in filter(None, os.environ.get("VAELAB_DATA", "").split(os.pathsep)):
        path = Path(folder) / "tables" / f"{name}.csv.gz"
        if path.is_file():
            return open_source(path, drop=drop).fit_scaling()
    pytest.skip(f"needs tables/{name}.csv.gz in a folder of VAELAB_DATA")


def close(a: Array | Tensor | float, b: Array | Tensor | float, rel: float = 1e-10, floor: float = 1e-12) -> None:
    """Assert |a - b| <= rel * max |b| + floor, and equal shapes."""
    a, b = (v.detach().double().numpy() if isinstance(v, Tensor) else np.asarray(v, float) for v in (a, b))
    assert a.shape == b.shape, (a.shape, b.shape)
    worst = np.abs(a - b).max(initial=0)
    assert worst <= rel * np.abs(b).max(initial=0) + floor, f"differ by {worst:.3g} at most, allowed rel {rel:g}"


def within(draws: Array | Tensor, truth: Array | Tensor | float, most: float = 5.0, axis: int = 0) -> None:
    """Assert that the mean of independent draws is within 5 standard errors of the truth, entry by entry."""
    draws = np.asarray(draws.detach() if isinstance(draws, Tensor) else draws, float)
    truth = np.asarray(truth.detach() if isinstance(truth, Tensor) else truth, float)
    se = draws.std(axis, ddof=1) / math.sqrt(draws.shape[axis])
    assert (se > 0).all(), "no spread: compare exactly instead"
    z = (draws.mean(axis) - truth) / se
    assert np.abs(z).max() < most, f"z = {z.flat[np.abs(z).argmax()]:.2f}, largest standard error {se.max():.3g}"
