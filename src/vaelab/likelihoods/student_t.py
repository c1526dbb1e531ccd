"""Real numbers with heavy tails."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from ..conditional import bounded
from ..distributions import StudentT as StudentDensity
from ..errors import UsageError
from .location_scale import LocationScale, learned


class StudentT(LocationScale):
    """p(x | z) = t((x - mu(z)) / s; df) / s per entry, t Student's density with df degrees of freedom.

    `scale` is a number, "shared", "entry" or "network", as for the Gaussian. `df` is a positive number, or "shared" or
    "entry" for learned ones: 1 + 4 exp(a), a bounded to ±10, so that E[x | z] exists. Lange, Little & Taylor 1989.

    >>> px = likelihoods.StudentT(networks.Linear(2, 5), (5,), scale=1.0, df=1)(torch.zeros(7, 2))
    >>> round(px.log_prob(px.mode)[0].item(), 4)  # -5 log pi: Cauchy
    -5.7236
    """

    log_df: Tensor

    def __init__(
        self, network: nn.Module, shape: Sequence[int], scale: float | str = "shared", df: float | str = "shared"
    ) -> None:
        super().__init__(network, shape, scale)
        if df == "network":
            raise UsageError("StudentT: df is a number, shared or entry, got 'network'.")
        self.df = df
        learned(self, "df", df)

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for z of shape (*lead, Z)."""
        assert given is not None
        loc, scale = self.location_scale(given, condition)
        df = 1 + 4 * bounded(self.log_df).exp() if isinstance(self.df, str) else loc.new_tensor(self.df)
        density = StudentDensity(df, loc, scale)
        return Independent(density, len(self.shape), validate_args=False)
