"""The bound of a model with classes, and the classifier's own loss."""

from __future__ import annotations

from torch import Tensor

from ..errors import UsageError
from ..models import Model, Terms
from ..noise import Noise
from ..shapes import Float
from .base import Objective
from .bounds import elbo


class SemiSupervised(Objective):
    """ELBO + (alpha / labelled) log q(y | x) for the rows with a label (Kingma et al. 2014, eq. 8 and 9).

    `labelled` is the share of the training rows that have one, so that alpha is the paper's weight divided by the
    number of rows. There that is 0.1; the default is 1, as with 100 labels of digits 0.1 learned the classes slowly
    (right for 0.73 of the rows after 60 epochs, and 0.94 with 1). The model has classify(x) = q(y | x); the condition
    is the label, all 0 where there is none.

    >>> objectives.SemiSupervised(alpha=0.1, labelled=0.05).alpha
    0.1
    """

    def __init__(self, alpha: float = 1.0, labelled: float = 1.0, samples: int = 1) -> None:
        super().__init__()
        if alpha < 0 or not 0 < labelled <= 1 or samples < 1:
            raise UsageError(
                "SemiSupervised: alpha must not be negative, labelled lie in (0, 1] and samples be at least 1, got "
                f"alpha={alpha}, labelled={labelled}, samples={samples}."
            )
        self.alpha, self.labelled, self.samples = alpha, labelled, samples

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
        """Return {"model": minus the bound, and the classifier's loss}, and the terms."""
        classify = getattr(model, "classify", None)
        if classify is None:
            raise UsageError(f"the objective semi-supervised needs a model with classes, not a {type(model).__name__}.")
        terms = model.terms(x, samples=self.samples, observed=observed, condition=condition, noise=noise)
        loss = -elbo(terms)
        if condition is not None:
            log_q = classify(terms.x, observed).logits  # normalised, as torch keeps them
            loss = loss - self.alpha / self.labelled * (condition.to(log_q.dtype) * log_q).sum(-1)
        return {"model": loss}, terms
