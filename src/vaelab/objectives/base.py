"""The objective protocol: a module that asks a model for terms and says who minimises what."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from ..models import Model, Terms
from ..noise import Noise
from ..part import Part
from ..shapes import Float


class Objective(Part, ABC):
    """forward(model, x, ...) -> {owner: loss of each row, (B,)}.

    An owner is a set of parameters with an optimiser of its own; most objectives have one, "model". An objective
    that owns a critic adds an entry to `owners` and to what forward returns.

    >>> issubclass(ELBO, objectives.Objective)
    True
    """

    samples: int = 1
    gradient: str = "pathwise"

    @abstractmethod
    def forward(
        self,
        model: Model,
        x: Float[Tensor, " B *X"],
        *,
        noise: Noise,
        step: int,
        observed: Tensor | None = None,
        condition: Float[Tensor, "B C"] | None = None,
    ) -> tuple[dict[str, Tensor], Terms]:
        """Return the losses by owner, and the terms they were made of."""

    def start(self, x: Tensor, rows: int) -> None:
        """Learn what is known before training: some rows x (B, *X), and that there are `rows` of them in all."""

    def owners(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each owner; no parameter may have two."""
        return {"model": [p for p in model.parameters() if p.requires_grad]}


class BoundObjective(Objective):
    """Maximise a function of Terms: the loss of each row is minus `bound(terms, step)`.

    >>> class Twice(objectives.BoundObjective):
    ...     def bound(self, terms, step):
    ...         return 2 * objectives.elbo(terms)
    >>> model, _ = recipes.vae((5,), 2)
    >>> x, noise = torch.zeros(7, 5), Noise.seeded(0)
    >>> losses, terms = Twice()(model, x, noise=noise, step=0)
    >>> torch.equal(losses["model"], -2 * objectives.elbo(terms))
    True
    """

    @abstractmethod
    def bound(self, terms: Terms, step: int) -> Float[Tensor, " B"]:
        """Return what is maximised, (B,), in nats; not necessarily a bound on log p(x)."""

    def forward(
        self,
        model: Model,
        x: Float[Tensor, " B *X"],
        *,
        noise: Noise,
        step: int,
        observed: Tensor | None = None,
        condition: Float[Tensor, "B C"] | None = None,
    ) -> tuple[dict[str, Tensor], Terms]:
        """Return {"model": -bound} and the terms."""
        terms = model.terms(
            x,
            samples=self.samples,
            observed=observed,
            condition=condition,
            noise=noise,
            gradient=self.gradient,
        )
        return {"model": -self.bound(terms, step)}, terms
