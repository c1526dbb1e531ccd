"""Card 12: in a chosen family, the distribution closest in KL to one that cannot be handled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from .. import networks, posteriors, priors
from ..conditional import Conditional
from ..evaluation import Estimate
from ..evaluation.rules import Rule, legendre
from ..models import VAE
from ..noise import Noise
from ..objectives import ELBO
from . import lab
from .base import Trial, experiment
from .picture import BLUE, GREEN, PURPLE, VERMILION, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TARGETS = ("ring", "banana", "steep banana", "two bananas")
SIDE = 2.0  # deviation of the Gaussian factor that makes each target normalisable
CHAINS = (("diagonal", "full", "mixture"), ("full", "flow"))


def energy(name: str, z: Tensor) -> Tensor:
    """Return U(z), (*lead): what the log-density of a target loses beside its Gaussian factor."""
    a, b = z.unbind(-1)
    if name == "ring":
        return 0.5 * ((z.square().sum(-1) + 1e-6).sqrt() - 2).square() / 0.4**2
    if name == "banana":
        return 0.5 * (b - 0.5 * a.square() + 1).square() / 0.5**2
    if name == "steep banana":
        return 0.5 * (b - 1.0 * a.square() + 1.5).square() / 0.5**2
    up, down = (0.5 * (b - sign * (0.4 * a.square() - 1.5)).square() / 0.4**2 for sign in (1, -1))
    return -torch.logaddexp(-up, -down)


class Unnormalised(Distribution):
    """exp(-U(z)) in the place of p(x | z): x says nothing, so p(x) is the constant Z."""

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, log_value: Tensor) -> None:
        self.log_value = log_value
        super().__init__(log_value.shape, torch.Size([1]), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return -U(z), whatever x is."""
        return self.log_value


class Target(Conditional):
    """exp(-U(z)) of one target."""

    normalized = False

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return what stands in the place of p(x | z)."""
        assert given is not None
        return Unnormalised(-energy(self.name, given))


class Everywhere(Conditional):
    """q(z | x) that is the same for every x: a prior's family in the place of a posterior."""

    def __init__(self, family: Conditional, latent_dim: int) -> None:
        super().__init__()
        self.family, self.latent_dim = family, latent_dim

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return q(z) for each row."""
        assert given is not None
        return self.family().expand(torch.Size([len(given)]))


def posterior(family: str) -> Conditional:
    """Return a family of q with parameters for one row; the mixture has four full Gaussians of equal weight.

    Equal weights are fixed: draws are differentiable in components, not in weights, and four equal ones are a full
    Gaussian, so that the families stay nested.
    """
    if family == "mixture":
        mixture = priors.Mixture(2, components=4, covariance="full")
        mixture.logits.requires_grad_(False)
        return Everywhere(mixture, 2)
    parts: dict[str, tuple[type[posteriors.Amortized], dict[str, Any]]] = {
        "diagonal": (posteriors.Gaussian, {}),
        "full": (posteriors.FullGaussian, {}),
        "flow": (posteriors.Flow, {"kind": "iaf", "transforms": 3, "hidden": 24, "amortized": False}),
    }
    part, arguments = parts[family]
    return part(networks.PerRow(1, part.outputs(2, **arguments)), 2, **arguments)


@dataclass
class Fit:
    """What one family reaches on one target: the bound, and some of its draws."""

    bound: Estimate
    draws: Tensor


def closest(name: str, family: str, trial: Trial) -> Fit:
    """Minimise KL(q || target) over a family, by ascent on the bound."""
    model = VAE(prior=priors.Gaussian(2, scale=SIDE), posterior=posterior(family), likelihood=Target(name))
    x, draws = torch.zeros(1, 1), 32
    lab.ascend(
        model, x, steps=2000 if trial.full else 180, noise=Noise(trial.generator(f"{name} {family}")),
        objective=ELBO(samples=draws, gradient="pathwise"), lr=0.05,
    )  # fmt: skip
    with torch.no_grad():
        model = model.double()
        terms = model.terms(x.double(), samples=20_000, noise=trial.noise(f"judge {name} {family}"))
        assert isinstance(terms.z, Tensor)
        return Fit(Estimate.of(terms.log_w[:, 0]), terms.z[:1500, 0])


def log_normaliser(name: str, rule: Rule) -> float:
    """log Z = log of the integral of exp(-U(z)) N(z; 0, 4 I)."""
    z, log_w = rule
    log_density = -energy(name, z) - 0.5 * z.square().sum(-1) / SIDE**2 - math.log(2 * math.pi * SIDE**2)
    return (log_density + log_w).logsumexp(0).item()


@experiment(
    12,
    "What is variational inference?",
    statement="in a chosen family, the distribution closest in KL to one that cannot be handled",
    control="a wrong log Z: half of the plane is left out of the integral",
)
def measure(trial: Trial) -> None:
    """Four targets with log Z by quadrature: the bound never exceeds it; richer families come nearer."""
    fine, coarse = legendre(-14.0, 14.0, 40, 8, 2), legendre(-14.0, 14.0, 32, 8, 2)
    log_z = {name: log_normaliser(name, fine) for name in TARGETS}
    apart = max(abs(log_normaliser(name, coarse) - log_z[name]) for name in TARGETS)
    trial.claim("two quadratures of log Z agree to 1e-6", apart < 1e-6, largest_difference=apart)
    if trial.control:
        z, log_w = fine
        half = torch.where(z[:, 0] > 0, log_w, -torch.inf)
        log_z = {name: log_normaliser(name, (z, half)) for name in TARGETS}
    families = ("diagonal", "full", "mixture", "flow")
    found = {name: {family: closest(name, family, trial) for family in families} for name in TARGETS}
    excess = {
        n: {f: fit.bound.value - log_z[n] - 4 * fit.bound.se for f, fit in fits.items()} for n, fits in found.items()
    }
    worst = max(max(fits.values()) for fits in excess.values())
    trial.claim(
        "the bound is at most log Z within 4 standard errors, for 4 targets and 4 families",
        worst <= 0,
        log_z=list(log_z.values()),
        largest_excess_less_4_errors=worst,
    )
    for chain in CHAINS:
        grows = []
        for fits in found.values():
            for poor, rich in pairwise(chain):
                a, b = fits[poor].bound, fits[rich].bound
                grows.append(a.value - b.value <= max(4 * (a.se**2 + b.se**2) ** 0.5, 0.02))
        trial.claim(
            f"along {' < '.join(chain)} the gap does not grow (4 standard errors, or 0.02 nats)",
            all(grows),
            **{
                f"gap_{name.replace(' ', '_')}": [
                    Estimate(log_z[name] - fits[f].bound.value, fits[f].bound.se) for f in chain
                ]
                for name, fits in found.items()
            },
        )

    def paint(figure: Figure) -> None:
        line = torch.linspace(-5, 5, 200)
        z = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
        colours = {"diagonal": VERMILION, "full": PURPLE, "mixture": GREEN, "flow": BLUE}
        axes = figure.subplots(2, 4, sharex=True, sharey=True)
        for (above, below), (name, fits) in zip(axes.T, found.items()):
            density = (-energy(name, z) - 0.5 * z.square().sum(-1) / SIDE**2).exp()
            best = min(fits, key=lambda family: log_z[name] - fits[family].bound.value)
            for axis, family in ((above, "diagonal"), (below, best)):
                gap = log_z[name] - fits[family].bound.value
                axis.contourf(line.numpy(), line.numpy(), density.numpy(), levels=6, cmap="Greys")
                axis.plot(*fits[family].draws[:400].T, ".", color=colours[family], markersize=3, alpha=0.6)
                axis.set(xlim=(-5, 5), ylim=(-5, 5), aspect="equal")
                tidy(axis, "", "", f"{name}, {family}:\ngap {gap:.2f} nats")
        figure.supxlabel("z1")
        figure.supylabel("z2")

    trial.draw(paint, width=12, height=6.6)
