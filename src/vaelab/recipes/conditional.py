"""Published models that are given something beside x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from ..models import VAE, SemiSupervised
from ..objectives import Objective
from ..parts import parse
from .base import Shape, assemble, dense, recipe


@recipe(
    "Sohn, Lee & Yan 2015, Learning Structured Output Representation by Deep Conditional Generative Models (NeurIPS)",
    prior="conditioned",
)
def cvae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E_q[log p(x | z, c)] - KL(q(z | x, c) || p(z | c)) for a condition c (eq. 4).

    c -> Dataset.condition, from --condition: unit vectors for classes, standardised numbers; p(z | c) ->
    priors.Conditioned (--prior gaussian: z is then independent of c); q and p(x | z, c) -> networks that read c too.

    >>> recipes.cvae((5,), 2, condition=3)[0].likelihood.network.condition
    3
    """
    if not parts["condition"]:
        raise UsageError("recipe cvae needs a condition: --condition label, or columns of a table.")
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Kingma, Rezende, Mohamed & Welling 2014, Semi-supervised Learning with Deep Generative Models (NeurIPS), M2",
    objective="semi-supervised", classes=(), labelled=1.0,
)  # fmt: skip
def m2(
    shape: Shape, latent_dim: int, *, classes: Sequence[str], labelled: float, **parts: Any
) -> tuple[SemiSupervised, Objective]:
    """Maximise the bounds on log p(x, y) of rows with a label and on log p(x) of the others, and alpha log q(y | x).

    Equations 6, 7 and 9. y -> the labels (--labels), of which --labelled N are used; q(y | x) ->
    SemiSupervised.classifier; the sum over y -> Terms.log_weight; alpha -> objectives.SemiSupervised.

    >>> recipes.m2((5,), 2, classes=("a", "b"), labelled=0.1)[0].classes
    ('a', 'b')
    """
    if parts["condition"]:
        raise UsageError("recipe m2 has the labels for its condition; --condition cannot be added.")
    if parts["refine"]:
        raise UsageError("recipe m2 sums over classes and has no refinement of q. Leave --refine out.")
    if len(classes) < 2:
        raise UsageError("recipe m2 needs labels of at least two classes. Add --labels, or use a source that has them.")
    model, _ = assemble(shape, latent_dim, **{**parts, "condition": len(classes), "objective": "elbo"})
    px = parse("likelihood", parts["likelihood"])
    seen = px.part.seen(tuple(shape), **px.arguments)
    classifier = dense(seen, len(classes), parts["hidden"], parts["activation"])
    made = SemiSupervised(
        classifier=px.part.reader(classifier, **px.arguments),
        prior=model.prior,
        posterior=model.posterior,
        likelihood=model.likelihood,
        classes=classes,
    )
    goal = parse("objective", parts["objective"])
    return made, goal.make(latent_dim=latent_dim, shape=shape, labelled=labelled)
