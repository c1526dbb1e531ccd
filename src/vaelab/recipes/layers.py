"""Published models with several stochastic layers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from ..models import Chain, Ladder, Residual, TopDown
from ..networks import Block, Learned, Pixels
from ..objectives import Objective
from ..parts import Spec, parse
from ..posteriors import Gaussian, Nearest, ResidualNearest
from .base import Shape, dense, recipe


def sizes(latent_dim: int | Sequence[int], layers: int) -> tuple[int, ...]:
    """Return the latent dimensions of each layer, from x upwards: of one number n, n, n/2, n/4, ...

    >>> sizes(20, 3), sizes((7, 5), 3)
    ((20, 10, 5), (7, 5))
    """
    if isinstance(latent_dim, int):
        return tuple(max(1, latent_dim // 2**i) for i in range(layers))
    return tuple(latent_dim)


def halved(widths: Sequence[int], times: int) -> tuple[int, ...]:
    """Return the widths divided by 2^times."""
    return tuple(max(1, width // 2**times) for width in widths)


def topmost(spec: Spec, latent_dim: int, shape: Shape, condition: int) -> Any:
    """Return the prior of the top layer; UsageError for one that is made from q(z | x)."""
    if "posterior" in inspect.signature(spec.part.__init__).parameters:
        raise UsageError(f"the prior {spec.name} is made from q(z | x), and so is for one stochastic layer.")
    return spec.make(latent_dim=latent_dim, shape=shape, condition=condition)


@recipe(
    "Burda, Grosse & Salakhutdinov 2016, Importance Weighted Autoencoders (arXiv 1509.00519), two stochastic layers",
    layers=None, hidden=(200, 200), activation="tanh", objective="iwae:samples=5",
)  # fmt: skip
def hierarchical(
    shape: Shape,
    latent_dim: int | Sequence[int],
    *,
    hidden: Sequence[int],
    activation: str | None,
    prior: str,
    posterior: str,
    likelihood: str,
    objective: str,
    condition: int,
) -> tuple[Chain, Objective]:
    """Maximise E[log (1/K) sum_k w_k], w = p(z2) p(z1 | z2) p(x | z1) / (q(z1 | x) q(z2 | z1)), K = 5 (eq. 1, 2, 8).

    latent_dim n is n and n/2 for z1 and z2, or one number for each layer (the paper: 100,50); `hidden` are the widths
    next to x, halved from layer to layer. q -> Chain.posteriors, p(z1 | z2) -> Chain.links, p(z2) -> Chain.prior.

    >>> recipes.hierarchical((28, 28), (100, 50))[0].sizes
    [100, 50]
    """
    shape, dims = tuple(shape), sizes(latent_dim, 2)
    p, q, px = parse("prior", prior), parse("posterior", posterior), parse("likelihood", likelihood)
    if q.part in (Nearest, ResidualNearest):
        raise UsageError(f"recipe hierarchical: the codes of the posterior {q.name} are for one stochastic layer.")
    posteriors, links, below = [], [], px.part.seen(shape, **px.arguments)
    for number, size in enumerate(dims):
        widths = halved(hidden, number)
        beside = 0 if number else condition
        encoder = dense(below, q.part.outputs(size, **q.arguments), widths, activation, beside)
        encoder = encoder if number else px.part.reader(encoder, **px.arguments)
        posteriors.append(q.make(network=encoder, latent_dim=size))
        if number:
            links.append(Gaussian(dense(size, 2 * below[0], tuple(reversed(widths)), activation), below[0]))
        below = (size,)
    decoder = dense(dims[0], px.part.outputs(shape, **px.arguments), tuple(reversed(hidden)), activation, condition)
    model = Chain(
        prior=topmost(p, dims[-1], shape, condition),
        posteriors=posteriors,
        links=links,
        likelihood=px.make(network=decoder, shape=shape),
    )
    return model, parse("objective", objective).make(latent_dim=model.latent_dim, shape=shape)


def only_gaussian(name: str, posterior: str) -> None:
    """Refuse a posterior: in a top-down model it is made from the prior of each layer."""
    if posterior != "gaussian":
        raise UsageError(f"recipe {name} has its own q(z | x), gaussian in each layer; --posterior cannot change it.")


@recipe(
    "Sonderby, Raiko, Maaloe, Sonderby & Winther 2016, Ladder Variational Autoencoders (arXiv 1602.02282)", layers=None
)
def ladder(
    shape: Shape,
    latent_dim: int | Sequence[int],
    *,
    hidden: Sequence[int],
    activation: str | None,
    prior: str,
    posterior: str,
    likelihood: str,
    objective: str,
    condition: int,
) -> tuple[TopDown, Objective]:
    """Maximise E_q[log p(x | z1)] - sum_l KL(q(zl | zl+1, x) || p(zl | zl+1)), q and p in one way down (eq. 11 to 19).

    latent_dim n is n, n/2, n/4, or one number for each layer (the paper: 64,32,16,8,4); `hidden` are the widths next to
    x, halved from layer to layer. q = p times N(m_h, v_h) -> models.Ladder; KL weight from 0 to 1 -> --warmup. Batch
    normalisation, which the paper has and which makes rows depend on their batch, is left out.

    >>> recipes.ladder((5,), 8, hidden=(11,))[0].sizes
    [8, 4, 2]
    """
    only_gaussian("ladder", posterior)
    shape, dims = tuple(shape), sizes(latent_dim, 3)
    p, px = parse("prior", prior), parse("likelihood", likelihood)
    encoders, levels, below = [], [], px.part.seen(shape, **px.arguments)
    for number, size in enumerate(dims):
        widths = halved(hidden, number)
        feature = widths[-1] if widths else math.prod(below)
        encoder = dense(below, feature, widths, activation, 0 if number else condition)
        encoders.append(encoder if number else px.part.reader(encoder, **px.arguments))
        evidence = Gaussian(dense(feature, 2 * size, widths[-1:], activation), size)
        above: Any = topmost(p, size, shape, 0) if number + 1 == len(dims) else None
        if above is None:
            above = Gaussian(dense(dims[number + 1], 2 * size, tuple(reversed(widths)), activation), size)
        levels.append(Ladder(above, evidence))
        below = (feature,)
    decoder = dense(dims[0], px.part.outputs(shape, **px.arguments), tuple(reversed(hidden)), activation, condition)
    model = TopDown(encoders=encoders, levels=levels, likelihood=px.make(network=decoder, shape=shape))
    return model, parse("objective", objective).make(latent_dim=model.latent_dim, shape=shape)


@recipe("Child 2021, Very Deep VAEs Generalize Autoregressive Models (arXiv 2011.10650)", layers=None, hidden=(32,))
def very_deep(
    shape: Shape,
    latent_dim: int | Sequence[int],
    *,
    hidden: Sequence[int],
    activation: str | None,
    prior: str,
    posterior: str,
    likelihood: str,
    objective: str,
    condition: int,
) -> tuple[TopDown, Objective]:
    """Maximise E_q[log p(x | z)] - sum_l KL(q(zl | z>l, x) || p(zl | z>l)) for images, by convolutions (eq. 4).

    latent_dim are the channels of z at each place, one number for each layer from x upwards (the paper: 16 in all); of
    one number n, every layer has at most 4, and there are as many as halve the image down to 2 or less; each layer has
    half the sides of the one below. The first of `hidden` is the width of the state. The top state is learned, so p(zL)
    is a Gaussian of its own. P, Q, F -> models.Residual.

    >>> recipes.very_deep((1, 28, 28), (2, 3, 4), hidden=(8,))[0].sizes  # 14 x 14 x 2, 7 x 7 x 3, 4 x 4 x 4
    [392, 147, 64]
    """
    only_gaussian("very-deep", posterior)
    if prior != "gaussian":
        raise UsageError("recipe very-deep learns its own p(z); --prior cannot change it.")
    shape, px = tuple(shape), parse("likelihood", likelihood)
    outputs = px.part.outputs(shape, **px.arguments)
    if len(shape) != 3 or outputs[-2:] != shape[1:]:
        raise UsageError(
            f"recipe very-deep is for images with a likelihood of pixels, not for x of shape {shape} under {px}. "
            "Use the recipe ladder."
        )
    width = hidden[0] if hidden else 32
    wide: tuple[int, ...] = (width, *shape[1:])
    if isinstance(latent_dim, int):
        latent_dim = (min(latent_dim, 4),) * max(1, math.ceil(math.log2(max(shape[1:]) / 2)))
    encoders, levels, below = [], [], wide
    first: tuple[int, ...] = shape
    for channels in latent_dim:
        size: tuple[int, ...] = (width, *(-(-n // 2) for n in below[1:]))
        place = size[1:]
        encoders.append(Block(first, size, width, condition if first is shape else 0))
        levels.append(
            Residual(
                channels * math.prod(place),
                ahead=Block(size, (2 * channels + width, *place), width),
                behind=Block((2 * width, *place), (2 * channels, *place), width),
                project=Pixels((channels, *place), size),
                block=Block(size, below, width),
            )
        )
        below = first = size
    head = Pixels(wide, outputs, axis=len(outputs) - 2, condition=condition)
    model = TopDown(
        encoders=encoders, levels=levels, likelihood=px.make(network=head, shape=shape), top=Learned(below, condition)
    )
    return model, parse("objective", objective).make(latent_dim=model.latent_dim, shape=shape)
