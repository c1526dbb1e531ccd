"""The KL in three parts: information about x, total correlation, and the KL of each dimension."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..distributions import entries
from ..errors import UsageError
from ..models import Terms
from ..shapes import Float
from .base import BoundObjective, codes

ESTIMATORS = ("weighted", "stratified")


@dataclass(frozen=True)
class Decomposition:
    """log q(z | x) - log p(z) = information + total_correlation + dimensions, (K, B) each, in nats at each draw.

    Their means over draws and rows estimate I(x; z), KL(q(z) || prod_d q(z_d)) and sum_d KL(q(z_d) || p(z_d)), with
    q(z) the average of q(z | x) over the training rows (Chen et al. 2018, eq. 2).
    """

    information: Float[Tensor, "K B"]
    total_correlation: Float[Tensor, "K B"]
    dimensions: Float[Tensor, "K B"]


def log_row_weights(batch: int, rows: Tensor, estimator: str) -> Float[Tensor, "B B"]:
    """Return log of the weight of row j in the estimate of q(z_i), (B, B), for a batch out of `rows` rows (0-d).

    "weighted": 1 / (N B) for every row (Chen et al. 2018, S3.1), too small by about a factor N. "stratified": 1 / N
    for the row that z_i came from and (N - 1) / (N (B - 1)) for the others, whose sum is 1: their weights in S3.2
    averaged over which of the others stands for the rest. Unbiased for q(z), and exact where the batch is all rows.
    """
    n = torch.clamp(rows, min=batch)
    own = torch.eye(batch, dtype=torch.bool, device=n.device)
    if estimator == "weighted":
        return (-(n * batch).log()).expand(batch, batch)
    return torch.where(own, -n.log(), ((n - 1) / (n * max(1, batch - 1))).log())


def decompose(terms: Terms, z: Float[Tensor, "K B Z"], log_weights: Float[Tensor, "B B"]) -> Decomposition:
    """Return the three parts at each draw, from log q(z_i | x_j) for all pairs of rows."""
    assert not isinstance(terms.q, dict)
    assert terms.log_qz is not None
    pairs = entries(terms.q).log_prob(z.unsqueeze(2))  # (K, B, B, Z)
    log_qz = (pairs.sum(-1) + log_weights).logsumexp(2)
    log_each = (pairs + log_weights.unsqueeze(-1)).logsumexp(2).sum(-1)
    return Decomposition(terms.log_qz - log_qz, log_qz - log_each, log_each - terms.log_pz)


class TotalCorrelation(BoundObjective):
    """E_q[log p(x | z)] - alpha I(x; z) - beta TC(z) - gamma sum_d KL(q(z_d) || p(z_d)) (Chen et al. 2018, eq. 4).

    beta-TC-VAE: beta weighs the total correlation alone. The aggregated posterior q(z) is estimated within the batch,
    so rows are coupled; `estimator` is "stratified" or "weighted" (`log_row_weights`). Needs a posterior that
    factorises over dimensions. How many training rows there are is learnt at the start of training.

    >>> model, objective = recipes.beta_tc_vae((5,), 2)
    >>> losses, terms = objective(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> losses["model"].shape
    torch.Size([7])
    """

    couples_rows = True
    rows: Tensor

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 6.0,
        gamma: float = 1.0,
        estimator: str = "stratified",
        samples: int = 1,
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self.estimator, self.samples = estimator, samples
        self.require(
            alpha=(alpha >= 0, "at least 0"),
            beta=(beta >= 0, "at least 0"),
            gamma=(gamma >= 0, "at least 0"),
            estimator=(estimator in ESTIMATORS, " or ".join(map(repr, ESTIMATORS))),
            samples=(samples >= 1, "at least 1"),
        )
        self.register_buffer("rows", torch.zeros(()))  # a tensor: what is learnt at the start is in the state

    def start(self, x: Tensor, rows: int) -> None:
        """Keep the number of training rows."""
        self.rows.fill_(rows)

    def bound(self, terms: Terms, step: int) -> Float[Tensor, " B"]:
        """Return what is maximised, (B,)."""
        z = codes(terms, self)
        _ = terms.log_w  # refuses by name a posterior without a density
        weights = log_row_weights(z.shape[1], self.rows.to(z), self.estimator)
        try:
            parts = decompose(terms, z, weights)
        except NotImplementedError:
            raise UsageError(
                f"TotalCorrelation needs a q(z | x) that factorises over dimensions, got {type(terms.q).__name__}. "
                "Use --posterior gaussian, or the objective factor."
            ) from None
        spent = self.alpha * parts.information + self.beta * parts.total_correlation + self.gamma * parts.dimensions
        return terms.mean(terms.log_px - spent)
