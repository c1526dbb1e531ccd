"""A normalising flow on the diagonal Gaussian posterior."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..conditional import bounded
from ..distributions.flow import Affine, Autoregressive, Planar, Radial, Step
from ..distributions.flow import Flow as FlowDistribution
from ..errors import UsageError
from ..networks import MADE
from .amortized import Amortized

BINS = 8
KINDS = ("planar", "radial", "iaf", "spline")


class Flow(Amortized):
    """q(z | x): z = f_T(... f_1(mu(x) + sigma(x) e)), e ~ N(0, I), log q(z | x) = log q_0 - sum_t log |det df_t|.

    `kind`: "planar" or "radial" steps, all their parameters by the network (Rezende & Mohamed 2015, eq. 10 and 14);
    "iaf", gated autoregressive steps whose masked networks (`hidden` units) read 2 latent_dim numbers from the encoder
    (Kingma et al. 2016, eq. 13-14), the order of dimensions turned after each; "spline", the same with
    rational-quadratic splines (Durkan et al. 2019) applied to e before mu + sigma e. With amortized=False the steps do
    not depend on x. All have inverses, so log q is known anywhere. Shapes: x (B, *X), z (*lead, B, latent_dim).

    >>> q = posteriors.Flow(networks.MLP(5, posteriors.Flow.outputs(3, kind="iaf")), 3, kind="iaf")(torch.zeros(7, 5))
    >>> q.log_prob(distributions.draw(q, 2, Noise.seeded(0))).shape
    torch.Size([2, 7])
    """

    def __init__(
        self,
        network: nn.Module,
        latent_dim: int,
        kind: str = "planar",
        transforms: int = 4,
        amortized: bool = True,
        hidden: int = 64,
    ) -> None:
        super().__init__(network, latent_dim)
        if kind not in KINDS or transforms < 1 or hidden < 1:
            raise UsageError(
                f"posteriors.Flow: kind is one of {', '.join(KINDS)}, transforms and hidden at least 1; "
                f"got {kind!r}, {transforms}, {hidden}."
            )
        self.kind, self.transforms, self.amortized, self.hidden = kind, transforms, amortized, hidden
        if kind in ("iaf", "spline"):
            outputs, context = (2 if kind == "iaf" else 3 * BINS - 1), (2 * latent_dim if amortized else 0)
            self.conditioners = nn.ModuleList(
                MADE(latent_dim, outputs, hidden, context, reverse=t % 2 == 1) for t in range(transforms)
            )
        elif not amortized:
            self.constant = nn.Parameter(0.1 * torch.randn(transforms * _size(kind, latent_dim)))

    @classmethod
    def outputs(cls, latent_dim: int, **arguments: Any) -> int:
        """Return 2 latent_dim for mu and log sigma, and as many as the steps read."""
        kind, transforms = arguments.get("kind", "planar"), arguments.get("transforms", 4)
        if not arguments.get("amortized", True):
            return 2 * latent_dim
        return 2 * latent_dim + (2 * latent_dim if kind in ("iaf", "spline") else transforms * _size(kind, latent_dim))

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return q(z | x) for x of shape (B, *X)."""
        assert given is not None
        d = self.latent_dim
        out = self.parameters_at(given, condition)
        base = Affine(out[..., :d], bounded(out[..., d : 2 * d]).exp())
        steps = self._steps(out[..., 2 * d :])
        order = [*steps, base] if self.kind == "spline" else [base, *steps]
        return FlowDistribution(order, d, out.shape[:-1], out)

    def _steps(self, read: Tensor) -> list[Step]:
        if self.kind in ("iaf", "spline"):
            context, kind = (read if self.amortized else None), ("gate" if self.kind == "iaf" else "spline")
            return [Autoregressive(made, context, kind, reverse=t % 2 == 1) for t, made in enumerate(self.conditioners)]
        d, raw = self.latent_dim, read if self.amortized else self.constant
        if self.kind == "planar":
            return [Planar(*p.split([d, d, 1], -1)) for p in raw.chunk(self.transforms, -1)]
        return [Radial(*p.split([d, 1, 1], -1)) for p in raw.chunk(self.transforms, -1)]


def _size(kind: str, latent_dim: int) -> int:
    """The number of parameters of one planar (u, w, b) or radial (centre, log alpha, raw beta) step."""
    return 2 * latent_dim + 1 if kind == "planar" else latent_dim + 2
