"""The regularised autoencoder: no noise, and a smooth decoder in place of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from ..distributions import entries
from ..errors import UsageError
from ..models import Model, Terms
from ..noise import Noise
from ..shapes import Float
from .base import Objective, codes


class RAE(Objective):
    """log p(x | z) - beta ||z||²/2 - weight R (Ghosh et al. 2020, eq. 11): not a bound on log p(x).

    `penalty` says what R is: "l2", ||theta||² of the decoder; "gradient", ||d E[x | z] / dz||²/2, the squared norm of
    the Jacobian, estimated without bias by one product with a normal vector per draw (Hutchinson 1990).

    >>> model, objective = recipes.rae_gp((5,), 2)
    >>> losses, terms = objective(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> losses["model"].shape
    torch.Size([7])
    """

    def __init__(self, beta: float = 0.01, weight: float = 1e-4, penalty: str = "l2", samples: int = 1) -> None:
        super().__init__()
        self.beta, self.weight, self.penalty, self.samples = beta, weight, penalty, samples
        self.require(
            beta=(beta >= 0, "at least 0"),
            weight=(weight >= 0, "at least 0"),
            penalty=(penalty in ("l2", "gradient"), "'l2' or 'gradient'"),
            samples=(samples >= 1, "at least 1"),
        )

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
        """Return {"model": the loss of each row} and the terms."""
        terms = model.terms(x, samples=self.samples, observed=observed, condition=condition, noise=noise)
        loss = 0.5 * self.beta * codes(terms, self).square().sum(-1) - terms.log_px
        if self.penalty == "gradient":
            return {"model": terms.mean(loss + 0.5 * self.weight * jacobian_norm(terms, noise))}, terms
        decoder = getattr(model, "likelihood", None)
        if not isinstance(decoder, nn.Module):
            raise UsageError(f"RAE: a {type(model).__name__} has no likelihood of its own. Use penalty='gradient'.")
        size = torch.stack([p.square().sum() for p in decoder.parameters()]).sum()
        return {"model": terms.mean(loss) + self.weight * size}, terms


def jacobian_norm(terms: Terms, noise: Noise) -> Float[Tensor, "K B"]:
    """||J||² of the Jacobian of E[x | z] in z, as ||v' J||² with v ~ N(0, I), whose mean it is; differentiable."""
    if isinstance(entries(terms.px), Categorical):
        raise UsageError("RAE: penalty 'gradient' needs a likelihood with a mean, and categories have none. Use 'l2'.")
    assert isinstance(terms.z, Tensor)
    mean = terms.px.mean
    (product,) = torch.autograd.grad(mean, terms.z, noise.normal(mean.shape, mean), create_graph=True)
    return product.flatten(2).square().sum(-1)
