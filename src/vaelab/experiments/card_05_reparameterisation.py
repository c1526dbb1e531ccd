"""Card 5: z = g(noise, x): given the noise, z is a deterministic, differentiable function of phi."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import networks, posteriors
from ..conditional import bounded, unbounded
from ..distributions import draw
from ..evaluation.rules import legendre
from ..noise import Noise
from ..posteriors import Amortized
from . import lab
from .base import Trial, experiment
from .picture import BLUE, VERMILION, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELLS = 10  # along each axis
Chart = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Family:
    """A posterior whose parameters depend on no x, and how its space is charted: (u, v) -> z, and back."""

    name: str
    q: Amortized
    low: float
    high: float
    chart: Chart
    back: Chart
    volume: Chart  # of z-space per area of the chart, at z


def same(z: Tensor) -> Tensor:
    """The plane is its own chart."""
    return z


def simplex(u: Tensor) -> Tensor:
    """Log-ratios to the last of three entries -> a point of the simplex."""
    return torch.nn.functional.pad(u, (0, 1)).softmax(-1)


def ratios(z: Tensor) -> Tensor:
    """The inverse of `simplex`."""
    return z[..., :2].log() - z[..., 2:].log()


def sphere(u: Tensor) -> Tensor:
    """(height, turn / pi) -> a point of the unit sphere: equal areas of the chart are equal areas of the sphere."""
    height, turn = u[..., :1].clamp(-1, 1), math.pi * u[..., 1:]
    side = (1 - height * height).sqrt()
    return torch.cat([side * turn.cos(), side * turn.sin(), height], -1)


def unrolled(z: Tensor) -> Tensor:
    """The inverse of `sphere`."""
    return torch.stack([z[..., 2], torch.atan2(z[..., 1], z[..., 0]) / math.pi], -1)


def families(trial: Trial) -> list[Family]:
    """Return every reparameterised family of the library, two-dimensional, with random parameters."""
    generator = trial.generator("parameters")
    found = []

    def add(
        name: str,
        family: type[Amortized],
        dims: int = 2,
        chart: Chart = same,
        back: Chart = same,
        ends: tuple[float, float] = (-5.0, 5.0),
        volume: Chart = lambda z: torch.ones_like(z[..., 0]),
        **arguments: object,
    ) -> None:  # fmt: skip
        table = networks.PerRow(1, family.outputs(dims, **arguments))
        q = family(table, dims, **arguments).double()
        with torch.no_grad():
            table.values.copy_(0.6 * torch.randn(table.values.shape, generator=generator))
        found.append(Family(name, q, *ends, chart, back, volume))

    add("Gaussian", posteriors.Gaussian)
    add("full Gaussian", posteriors.FullGaussian)
    for kind in ("planar", "radial", "iaf", "spline"):
        add(f"{kind} flow", posteriors.Flow, kind=kind, transforms=2, hidden=16)
    add("Concrete", posteriors.Concrete, 3, simplex, ratios, (-9.0, 9.0), lambda z: z.prod(-1))
    add(
        "von Mises-Fisher",
        posteriors.VonMisesFisher,
        3,
        sphere,
        unrolled,
        (-1.0, 1.0),
        lambda z: torch.full_like(z[..., 0], math.pi),
    )
    return found


def fit(family: Family, z: Tensor) -> float:
    """Return the p-value of Pearson's test of draws z (n, D) against the density, on CELLS² cells and what is outside.

    The probability of a cell is the density's integral over it, by Gauss-Legendre. Cells that expect fewer than 10
    draws are taken together.
    """
    nodes, log_w = legendre(family.low, family.high, CELLS, 12, 1)
    at, w = nodes.squeeze(1), log_w.exp()
    grid = torch.stack(torch.meshgrid(at, at, indexing="ij"), -1)
    place = family.chart(grid)
    density = family.q(torch.zeros(1, 1, dtype=lab.F64)).log_prob(place.flatten(0, 1).unsqueeze(1)).exp().squeeze(1)
    mass = family.volume(place) * density.reshape(len(at), -1) * w.unsqueeze(1) * w
    mass = mass.reshape(CELLS, 12, CELLS, 12).sum((1, 3)).flatten()
    u = family.back(z)
    cell = ((u - family.low) / (family.high - family.low) * CELLS).floor().long()
    inside = ((cell >= 0) & (cell < CELLS)).all(-1)
    counts = torch.bincount(cell[inside, 0] * CELLS + cell[inside, 1], minlength=CELLS * CELLS).double()
    expected = len(z) * mass
    large = expected >= 10
    counts = torch.cat([counts[large], (len(z) - counts[large].sum()).unsqueeze(0)])
    expected = torch.cat([expected[large], (len(z) - expected[large].sum()).clamp(min=1.0).unsqueeze(0)])
    pearson = ((counts - expected).square() / expected).sum()
    return torch.special.gammaincc(torch.tensor((len(counts) - 1) / 2, dtype=lab.F64), pearson / 2).item()


def slopes(family: Family, seed: int) -> tuple[Tensor, Tensor]:
    """Return the gradient of a mean of f(z) at fixed noise in the table's numbers, and its finite differences."""
    table = lab.numbers(family.q)

    def value() -> Tensor:
        z = draw(family.q(torch.zeros(1, 1, dtype=lab.F64)), 20, Noise.seeded(seed))
        return (z * torch.linspace(1.0, 2.0, z.shape[-1], dtype=lab.F64)).sum(-1).sin().mean()

    (analytic,) = torch.autograd.grad(value(), table)
    numeric, step = torch.zeros_like(analytic).flatten(), 1e-5
    with torch.no_grad():
        flat = table.view(-1)
        for i in range(len(flat)):
            before = flat[i].item()
            ends = []
            for sign in (1, -1):
                flat[i] = before + sign * step
                ends.append(value())
            flat[i] = before
            numeric[i] = (ends[0] - ends[1]) / (2 * step)
    return analytic.flatten(), numeric


def squared(q: Amortized) -> None:
    """The control: noise scaled by sigma² in the place of sigma."""
    values, dims = lab.numbers(q), q.latent_dim
    with torch.no_grad():
        values[:, dims : 2 * dims] = unbounded(2 * bounded(values[:, dims : 2 * dims]))


@experiment(
    5,
    "What is the reparameterisation trick?",
    statement="given noise from a fixed distribution, z = g(noise, x) is a deterministic, differentiable function",
    control="noise scaled by sigma² in the place of sigma",
)
def measure(trial: Trial) -> None:
    """Draws against densities, gradients at fixed noise against finite differences, for every family."""
    n = 400_000 if trial.full else 40_000
    noise, names, p_values, errors = trial.noise("draws"), [], [], []
    shown: list[Tensor] = []
    for family in families(trial):
        kept = lab.numbers(family.q).detach().clone()
        if trial.control and not isinstance(family.q, (posteriors.Concrete, posteriors.VonMisesFisher)):
            squared(family.q)
        with torch.no_grad():
            z = draw(family.q(torch.zeros(1, 1, dtype=lab.F64)), n, noise)[:, 0]
            lab.numbers(family.q).copy_(kept)  # what the density is of
            p_values.append(fit(family, z))
        analytic, numeric = slopes(family, trial.seed)
        errors.append(((analytic - numeric).abs().max() / analytic.abs().max()).item())
        names.append(family.name)
        shown.append(family.back(z[:1500]))
    trial.claim(
        f"{n:,} draws of each family fit its density: p > 1e-5 in Pearson's test on {CELLS}² cells",
        min(p_values) > 1e-5,
        **{key(name): p for name, p in zip(names, p_values)},
    )
    trial.claim(
        "at fixed noise the gradient is the finite difference, within 1e-6 of its largest entry",
        max(errors) < 1e-6,
        **{key(name): error for name, error in zip(names, errors)},
    )

    def paint(figure: Figure) -> None:
        for axis, name, z, p in zip(figure.subplots(2, 4).flat, names, shown, p_values):
            axis.plot(*z.T, "o", color=BLUE if p > 1e-5 else VERMILION, markersize=2, alpha=0.5)
            tidy(axis, "", "", f"{name}\np = {p:.2g}")
        figure.supxlabel("first coordinate of the draws")
        figure.supylabel("second coordinate")

    trial.draw(paint, width=11, height=6)


def key(name: str) -> str:
    """Return a name as a figure is called."""
    return name.replace(" ", "_").replace("-", "_").lower()
