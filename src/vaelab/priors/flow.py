"""A normalising flow as a prior."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..conditional import Conditional, bounded, unbounded
from ..distributions import Normalizing
from ..distributions.flow import Affine, Autoregressive, Step
from ..errors import UsageError
from ..networks import MADE

KINDS = ("nsf", "maf")
BINS = 8


class Flow(Conditional):
    """log p(z) = log N(f(z); 0, I) + log |det df/dz|, f invertible and learned: any density, in one pass.

    f is an affine map of each dimension, then `transforms` autoregressive steps, the order of dimensions turned after
    each, by masked networks of `hidden` units. `kind`: "maf", e_i = m(z_<i) + exp(a(z_<i)) z_i (Papamakarios et al.
    2017); "nsf", monotone rational-quadratic splines (Durkan et al. 2019). A draw solves one dimension after another.

    >>> p = priors.Flow(2, kind="maf")()
    >>> p.log_prob(distributions.draw(p, 3, Noise.seeded(0))).shape
    torch.Size([3])
    """

    def __init__(self, latent_dim: int, transforms: int = 3, hidden: int = 64, kind: str = "nsf") -> None:
        super().__init__()
        if latent_dim < 1 or transforms < 1 or hidden < 1 or kind not in KINDS:
            raise UsageError(
                "priors.Flow: latent_dim, transforms and hidden are at least 1, kind is 'nsf' or 'maf'; "
                f"got {latent_dim}, {transforms}, {hidden}, {kind!r}."
            )
        self.latent_dim, self.transforms, self.hidden, self.kind = latent_dim, transforms, hidden, kind
        self.shift = nn.Parameter(torch.zeros(latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(latent_dim))
        outputs = 2 if kind == "maf" else 3 * BINS - 1
        self.networks = nn.ModuleList(MADE(latent_dim, outputs, hidden, reverse=t % 2 == 1) for t in range(transforms))

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(z); a condition does not move it."""
        kind = "affine" if self.kind == "maf" else "spline"
        steps: list[Step] = [Affine(self.shift, bounded(self.log_scale).exp())]
        steps += [Autoregressive(made, None, kind, reverse=t % 2 == 1) for t, made in enumerate(self.networks)]
        return Normalizing(steps, self.latent_dim, self.shift)

    @torch.no_grad()
    def fit(self, z: Tensor, seed: int = 0) -> bool:
        """Let the affine map standardise z (N, D); return False: the rest is for gradient ascent."""
        scale = z.std(0, correction=0).clamp(min=1e-6)
        self.log_scale.copy_(unbounded(-scale.log()))
        self.shift.copy_(-z.mean(0) / scale)
        return False
