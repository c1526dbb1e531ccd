"""The objective protocol: a module that asks a model for terms and says who minimises what."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from ..errors import UsageError
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
    weighs: bool = False  # True where draws count by their weights: training is then judged by such a bound as well
    couples_rows: bool = False  # True where the loss of a row depends on the rows beside it
    reads_index: bool = False  # True where forward is also given the places of its rows among all rows, index (B,)

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

    def require(self, **rules: tuple[bool, str]) -> None:
        """Refuse the arguments that break their rule: name -> (whether it is kept, what is expected)."""
        for name, (kept, expected) in rules.items():
            if not kept:
                got = getattr(self, name)
                raise UsageError(f"{type(self).__name__}: {name} must be {expected}, got {got!r}.")

    def start(self, x: Tensor, rows: int) -> None:
        """Learn what is known before training: some rows x (B, *X), NaN in gaps, of `rows` in all."""

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
            gradient="stopped" if self.gradient == "dreg" else self.gradient,
        )
        return {"model": -self.bound(terms, step)}, terms


def codes(terms: Terms, objective: Objective) -> Float[Tensor, "K B Z"]:
    """Return z as vectors; refuse several stochastic layers, of which a function of one z knows nothing."""
    if isinstance(terms.z, dict):
        raise UsageError(
            f"{type(objective).__name__} is a function of one latent vector, but this model has the stochastic layers "
            f"{', '.join(terms.z)}. Use the objective elbo or iwae."
        )
    return terms.z.reshape(*terms.z.shape[:2], -1)


def equal_weights(terms: Terms, objective: Objective) -> None:
    """Refuse draws that carry weights of their own: the estimator takes them as independent and alike."""
    if terms.log_weight is not None:
        raise UsageError(
            f"{type(objective).__name__} needs draws of equal weight, but this model weights its draws. "
            "Use the objective elbo or iwae."
        )


def two_sides(model: nn.Module, objective: Objective) -> dict[str, list[nn.Parameter]]:
    """Return "generative", the parameters of p(x, z), and "recognition", those of q(z | x), as two owners.

    What the two share, such as a posterior inside the prior, belongs to recognition.
    """
    posterior = getattr(model, "posterior", None)
    if not isinstance(posterior, nn.Module):
        raise UsageError(
            f"{type(objective).__name__} trains q(z | x) and p(x, z) apart, but a {type(model).__name__} has no "
            "posterior of its own. Use the objective elbo or iwae."
        )
    own = {id(p) for p in posterior.parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    return {
        "generative": [p for p in trained if id(p) not in own],
        "recognition": [p for p in trained if id(p) in own],
    }
