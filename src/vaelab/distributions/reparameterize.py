"""z = g(noise): draws from explicit noise, differentiable in the distribution's parameters where the family allows.

Kingma & Welling 2013, section 2.4. `draw` is a table by type, like the KL table: a family is one function.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    TransformedDistribution,
)

from ..noise import Noise, OnePerDraw
from ..shapes import Float
from .discretized import DiscretizedLogistic
from .point import PointMass

Draw = Callable[[Any, int, Noise], Tensor]
D = TypeVar("D", bound=Distribution)
_TABLE: dict[type[Distribution], Draw] = {}


def register_draw(family: type[Distribution]) -> Callable[[Draw], Draw]:
    """Register how K draws are made from noise for one family of distributions."""

    def keep(rule: Draw) -> Draw:
        _TABLE[family] = rule
        return rule

    return keep


def draw(d: Distribution, samples: int, noise: Noise) -> Float[Tensor, " {samples} *rest"]:
    """Return `samples` draws, shape (samples, *batch, *event), reparameterised where the family allows it.

    A family that is not in the table draws by its own sampler, seeded from the noise, the global generator restored.

    >>> q = torch.distributions.Normal(torch.zeros(7, 2), 1.0)
    >>> distributions.draw(q, 3, Noise.seeded(0)).shape
    torch.Size([3, 7, 2])
    """
    inner = d
    while isinstance(inner, Independent):
        inner = inner.base_dist
    rule = _TABLE.get(type(inner))
    return rule(inner, samples, noise) if rule else _own_sampler(inner, samples, noise)


def draw_below(d: Distribution, samples: int, noise: Noise) -> Tensor:
    """Return draws of shape (samples, B, *event) of a layer: one of each where its batch is (samples, B) already.

    That is the batch of a layer given `samples` draws of the layer before; the first layer's is (B,).

    >>> q = torch.distributions.Normal(torch.zeros(3, 7, 2), 1.0)
    >>> distributions.draw_below(torch.distributions.Independent(q, 1), 3, Noise.seeded(0)).shape
    torch.Size([3, 7, 2])
    """
    if len(d.batch_shape) < 2:
        return draw(d, samples, noise)
    return draw(d, 1, OnePerDraw(noise))[0]


def _own_sampler(d: Distribution, samples: int, noise: Noise) -> Tensor:
    seed = int(noise.uniform((1, 1), torch.zeros((), dtype=torch.float64)).item() * 2**53)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return d.rsample((samples,)) if d.has_rsample else d.sample((samples,))


def _shape(d: Distribution, samples: int) -> tuple[int, ...]:
    return (samples, *d.batch_shape, *d.event_shape)


@register_draw(Normal)
def _normal(d: Normal, samples: int, noise: Noise) -> Tensor:
    return d.loc + d.scale * noise.normal(_shape(d, samples), d.loc)


@register_draw(MultivariateNormal)
def _full_normal(d: MultivariateNormal, samples: int, noise: Noise) -> Tensor:
    eps = noise.normal(_shape(d, samples), d.loc)
    return d.loc + (d.scale_tril @ eps.unsqueeze(-1)).squeeze(-1)


@register_draw(PointMass)
def _point(d: PointMass, samples: int, noise: Noise) -> Tensor:
    return d.rsample((samples,))


@register_draw(Bernoulli)
def _bernoulli(d: Bernoulli, samples: int, noise: Noise) -> Tensor:
    return (noise.uniform(_shape(d, samples), d.probs) < d.probs).to(d.probs.dtype)


@register_draw(Categorical)
def _categorical(d: Categorical, samples: int, noise: Noise) -> Tensor:
    """The number of cumulative probabilities below u; the last one is 1 whatever the rounding."""
    cumulative = d.probs.cumsum(-1)[..., :-1]
    u = noise.uniform(_shape(d, samples), d.probs)
    return (u.unsqueeze(-1) > cumulative).sum(-1).to(d.probs.dtype)


@register_draw(OneHotCategorical)
def _one_hot(d: OneHotCategorical, samples: int, noise: Noise) -> Tensor:
    inner = Categorical(probs=d.probs, validate_args=False)
    return torch.nn.functional.one_hot(_categorical(inner, samples, noise).long(), d.event_shape[0]).to(d.probs.dtype)


@register_draw(DiscretizedLogistic)
def _discretized_logistic(d: DiscretizedLogistic, samples: int, noise: Noise) -> Tensor:
    return d.icdf(noise.uniform(_shape(d, samples), d.loc))


def entries(d: Distribution) -> Distribution:
    """Return the distribution of each single entry of x, for a family that factorises over entries.

    Raises NotImplementedError for a joint density: it has no log-density of a part of x.

    >>> px = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(5), 1.0), 1)
    >>> px.log_prob(torch.zeros(5)).shape, distributions.entries(px).log_prob(torch.zeros(5)).shape
    (torch.Size([]), torch.Size([5]))
    """
    if isinstance(d, Independent):
        return d.base_dist
    if len(d.event_shape) == 0:
        return d
    raise NotImplementedError(
        f"{type(d).__name__} does not factorise over entries, so entries of x cannot be left out."
    )


def has_density(d: Distribution) -> bool:
    """Return whether log d(z) exists; a point mass has none.

    >>> distributions.has_density(distributions.PointMass(torch.zeros(2)))
    False
    """
    return getattr(d, "has_density", True)


def comparable(q: Distribution, p: Distribution) -> bool:
    """Return whether log q(z) - log p(z) means anything: both have densities, against the same measure.

    A family of codes, or on a sphere, says by `measure` that its densities are no densities on R^D.

    >>> q = distributions.NearestCode(torch.zeros(2), torch.zeros(3, 1))
    >>> distributions.comparable(q, torch.distributions.Normal(0.0, 1.0))
    False
    """
    return has_density(q) and getattr(q, "measure", "volume") == getattr(p, "measure", "volume")


def comparable_anywhere(q: Distribution, p: Distribution) -> bool:
    """Return whether log q(z) - log p(z) is known at any z, not at q's own draws only, as after leapfrog steps.

    >>> q = torch.distributions.Normal(0.0, 1.0)
    >>> distributions.comparable_anywhere(q, q)
    True
    """
    return comparable(q, p) and not getattr(q, "only_own_draws", False)


def held(d: D) -> D:
    """Return the same distribution with its parameters held: gradients pass through its argument only.

    >>> q = torch.distributions.Normal(torch.zeros(2, requires_grad=True), 1.0)
    >>> distributions.held(q).log_prob(torch.zeros(2)).requires_grad
    False
    """
    own = getattr(d, "held", None)  # of a family that keeps its parameters elsewhere than in plain attributes
    if own is not None:
        return own()
    if isinstance(d, TransformedDistribution):
        raise NotImplementedError("held: the parameters inside a transform cannot be reached; use gradient='pathwise'.")
    twin = copy.copy(d)
    for name, value in vars(d).items():
        if isinstance(value, Tensor):
            setattr(twin, name, value.detach())
        elif isinstance(value, Distribution):
            setattr(twin, name, held(value))
        elif isinstance(value, tuple) and any(isinstance(item, Distribution) for item in value):
            setattr(twin, name, tuple(held(item) for item in value))
    return twin
