"""Models whose answers are known in closed form, and noise that integrates quadratics without error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from vaelab import likelihoods, posteriors, priors
from vaelab.data import Dataset, Schema
from vaelab.models import VAE
from vaelab.networks import Linear
from vaelab.training import Rows

CHECKS: dict[str, Callable[[], None]] = {}
LOG_2PI = math.log(2 * math.pi)


def check(function: Callable[[], None]) -> Callable[[], None]:
    """Register a check under the name of its function."""
    CHECKS[function.__name__] = function
    return function


def close(value: Tensor | float, truth: Tensor | float, tolerance: float = 1e-10, what: str = "value") -> None:
    """Assert equality of shape, and of values to a relative tolerance."""
    value, truth = (torch.as_tensor(v, dtype=torch.float64) for v in (value, truth))
    assert value.shape == truth.shape, f"{what}: shape {tuple(value.shape)}, expected {tuple(truth.shape)}"
    error = ((value - truth).abs() / truth.abs().clamp(min=1)).max().item()
    assert error <= tolerance, f"{what}: off by {error:.2g} (relative)"


def f64(values: object) -> Tensor:
    """Return a float64 tensor of these numbers."""
    return torch.tensor(values, dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    """Return a generator of the check's own."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Return N(0, 1) numbers in float64."""
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def log_normal(x: Tensor, mean: Tensor | float, deviation: Tensor | float) -> Tensor:
    """log N(x; mean, deviation²) of each entry, written out."""
    deviation = torch.as_tensor(deviation, dtype=torch.float64)
    return -0.5 * ((x - mean) / deviation) ** 2 - deviation.log() - 0.5 * LOG_2PI


def bounded(raw: Tensor, bound: float = 10.0) -> Tensor:
    """(2 bound / pi) arctan(pi raw / (2 bound)): how a log-deviation is kept within ±bound."""
    slope = math.pi / (2 * bound)
    return (slope * raw).atan() / slope


def unbounded(y: Tensor, bound: float = 10.0) -> Tensor:
    """Return the raw number that `conditional.bounded` turns into y."""
    slope = math.pi / (2 * bound)
    return (slope * y).tan() / slope


def design(latent: int, rows: int) -> Tensor:
    """Return 2 Z draws, (2 Z, rows, Z), whose average of any quadratic is its mean under N(0, I)."""
    unit = torch.eye(latent, dtype=torch.float64)
    points = math.sqrt(latent) * torch.cat([unit, -unit])
    return points[:, None].expand(-1, rows, -1).contiguous()


@dataclass
class Linear_:
    """x = W z + m + s noise, z ~ N(loc, tau² I); q(z | x) = N(A x + b, L L')."""

    model: VAE
    w: Tensor
    m: Tensor
    s: Tensor
    a: Tensor
    b: Tensor
    l: Tensor  # noqa: E741
    loc: float
    tau: float

    @property
    def marginal(self) -> MultivariateNormal:
        """p(x)."""
        cov = self.tau**2 * self.w @ self.w.T + torch.diag(self.s**2)
        return MultivariateNormal(self.m + self.w.sum(1) * self.loc, cov)

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """Return the exact p(z | x)."""
        precision = (
            self.w.T @ (self.w / self.s[:, None] ** 2) + torch.eye(self.w.shape[1], dtype=torch.float64) / self.tau**2
        )
        mean = (((x - self.m) / self.s**2) @ self.w + self.loc / self.tau**2) @ precision.inverse()
        return MultivariateNormal(mean, precision_matrix=precision)

    def by_hand(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log p(x | z) per entry (K, B, D), log p(z) and log q(z | x) (K, B) for a diagonal L."""
        mean, deviation = x @ self.a.T + self.b, self.l.diagonal()
        z = mean + deviation * eps
        log_px = log_normal(x, z @ self.w.T + self.m, self.s)
        return log_px, log_normal(z, self.loc, self.tau).sum(-1), log_normal(z, mean, deviation).sum(-1)


def linear(
    posterior: str = "network",
    scale: float | str = 0.6,
    *,
    dims: int = 5,
    latent: int = 2,
    wrong: bool = False,
) -> Linear_:
    """Build the linear model with its exact posterior; with `wrong`, a diagonal q that is not it.

    posterior: "network", "constant" (diagonal q), "full" or "full-constant".
    """
    loc, tau = 0.3, 1.4
    s = (
        torch.linspace(0.4, 0.9, dims, dtype=torch.float64)
        if scale == "entry"
        else torch.full((dims,), 0.6, dtype=torch.float64)
    )
    q, _ = torch.linalg.qr(normal(dims, latent, seed=1))
    w = s[:, None] * q * torch.linspace(2.0, 0.7, latent, dtype=torch.float64)  # makes the exact posterior diagonal
    if posterior.startswith("full") or wrong:
        w = normal(dims, latent, seed=2) / math.sqrt(dims)
    m = normal(dims, seed=3)
    cov = (w.T @ (w / s[:, None] ** 2) + torch.eye(latent).double() / tau**2).inverse()
    a = cov @ (w / s[:, None] ** 2).T
    b = cov.sum(1) * loc / tau**2 - a @ m
    lower = torch.linalg.cholesky(cov)
    if wrong:
        lower = torch.diag(torch.linspace(0.5, 0.8, latent, dtype=torch.float64))
        b = b + 0.2
    likelihood = likelihoods.Gaussian(Linear(latent, (2, dims) if scale == "network" else (dims,)), (dims,), scale)
    raw_s = unbounded(s.log())
    state = {"weight": w, "bias": m}
    if scale == "network":
        state = {"weight": torch.cat([w, torch.zeros_like(w)]), "bias": torch.cat([m, raw_s])}
    elif scale == "optimal":
        likelihood.variance = torch.tensor(0.36, dtype=torch.float64)
    elif scale in ("shared", "entry"):
        likelihood.log_scale.data = raw_s if scale == "entry" else raw_s[0]
    _exactly(likelihood.network.map, state)
    return Linear_(
        VAE(
            prior=priors.Gaussian(latent, loc, tau),
            posterior=_posterior(posterior, a, b, lower),
            likelihood=likelihood,
        ).double(),
        w, m, s, a, b, lower, loc, tau,
    )  # fmt: skip


def _exactly(layer: nn.Linear, state: dict[str, Tensor]) -> None:
    layer.weight.data, layer.bias.data = state["weight"].clone(), state["bias"].clone()


def _posterior(kind: str, a: Tensor, b: Tensor, lower: Tensor) -> posteriors.Amortized:
    latent, dims = a.shape
    raw = unbounded(lower.diagonal().log())
    family: type[posteriors.Amortized] = posteriors.Gaussian
    if kind.startswith("full"):
        family = posteriors.FullGaussian
        row, column = torch.tril_indices(latent, latent, offset=-1)
        raw = torch.cat([raw, lower[row, column]])
    constant = kind.endswith("constant")
    outputs = latent if constant else latent + len(raw)
    part = family(Linear(dims, outputs), latent, scale="constant" if constant else "network")
    if constant:
        getattr(part, "factor" if kind.startswith("full") else "log_scale").data = raw
        _exactly(part.network.map, {"weight": a, "bias": b})
    else:
        zeros = torch.zeros(len(raw), dims, dtype=torch.float64)
        _exactly(part.network.map, {"weight": torch.cat([a, zeros]), "bias": torch.cat([b, raw])})
    return part


def real_data(
    raw: Tensor, loc: Tensor | None = None, scale: Tensor | None = None, observed: Tensor | None = None
) -> Dataset:
    """Return rows of real numbers under a schema with this location and scale."""
    schema = Schema(name="check", layout="array", shape=tuple(raw.shape[1:]), values="real", loc=loc, scale=scale)
    return Dataset(raw, schema, observed)


def real_rows(
    raw: Tensor, loc: Tensor | None = None, scale: Tensor | None = None, observed: Tensor | None = None
) -> Rows:
    """Return the same as float64 rows of the model."""
    return Rows(real_data(raw, loc, scale, observed), dtype=torch.float64)
