"""One stochastic layer of a top-down model: what q and p make of the state above it and of the way up from x."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from ..conditional import Conditional, bounded
from ..errors import UsageError
from ..part import Part


class Level(Part, ABC):
    """p(z | s) and q(z | s, h), and the state below: s is the state above (None above all), h the way up from x.

    >>> issubclass(models.Ladder, models.Level)
    True
    """

    latent_dim: int

    @abstractmethod
    def prior(self, state: Tensor | None) -> tuple[Distribution, Tensor | None]:
        """Return p(z | s), batch shape that of the state, and what of the state goes down."""

    @abstractmethod
    def posterior(self, p: Distribution, state: Tensor | None, feature: Tensor) -> Distribution:
        """Return q(z | s, h), where p is p(z | s)."""

    @abstractmethod
    def below(self, down: Tensor | None, z: Tensor) -> Tensor:
        """Return the state of the level below, given what goes down and a draw z (*lead, Z)."""


class Ladder(Level):
    """q(z | s, h) = N(z; m, v), 1/v = 1/v_p + 1/v_h, m = v (m_p/v_p + m_h/v_h): p(z | s) times what x says of z.

    Sonderby et al. 2016, eq. 17 to 19; the state below is z itself. `given_above` is p(z | s) = N(m_p, v_p) and
    `evidence` is N(m_h, v_h) given h, both diagonal Gaussians; at the top, where there is no state, q is the evidence.

    >>> prior = posteriors.Gaussian(networks.MLP(2, 6), 3)
    >>> level = models.Ladder(prior, posteriors.Gaussian(networks.MLP(11, 6), 3))
    >>> p, _ = level.prior(torch.zeros(7, 2))
    >>> q = level.posterior(p, torch.zeros(7, 2), torch.zeros(7, 11))
    >>> bool((q.variance < p.variance).all())
    True
    """

    def __init__(self, given_above: Conditional, evidence: Conditional) -> None:
        super().__init__()
        self.given_above, self.evidence = given_above, evidence

    @property
    def latent_dim(self) -> int:  # type: ignore[override]
        """The number of latent dimensions."""
        return int(self.evidence.latent_dim)  # type: ignore[arg-type]

    def prior(self, state: Tensor | None) -> tuple[Distribution, Tensor | None]:
        """Return p(z | s); nothing else goes down."""
        return self.given_above(state), None

    def posterior(self, p: Distribution, state: Tensor | None, feature: Tensor) -> Distribution:
        """Return the product of p(z | s) and the evidence; at the top the evidence."""
        said: Distribution = self.evidence(feature)
        if state is None:
            return said
        (mean_p, precision_p), (mean_h, precision_h) = _moments(p), _moments(said)
        precision = precision_p + precision_h
        mean = (mean_p * precision_p + mean_h * precision_h) / precision
        return gaussian(mean, precision.rsqrt())

    def below(self, down: Tensor | None, z: Tensor) -> Tensor:
        """Return z."""
        return z


class Residual(Level):
    """p(z | s) = N(P(s)), q(z | s, h) = N(Q(s, h)), the state below B(s + F(s) + W z) (Child 2021, figure 3).

    States and features are images (*lead, C, H, W), z is flat, (*lead, Z) with Z = channels * H * W. `ahead` gives P
    and F, (2 channels + C, H, W), of s; `behind` gives Q, (2 channels, H, W), of [s, h]; `project` is W, `block` B.

    >>> ahead, behind = networks.Block((3, 4, 4), (7, 4, 4), 5), networks.Block((6, 4, 4), (4, 4, 4), 5)
    >>> project, block = networks.Pixels((2, 4, 4), (3, 4, 4)), networks.Block((3, 4, 4), (3, 8, 8), 5)
    >>> level = models.Residual(32, ahead, behind, project, block)
    >>> _, down = level.prior(torch.zeros(11, 3, 4, 4))
    >>> level.below(down, torch.zeros(11, 32)).shape
    torch.Size([11, 3, 8, 8])
    """

    def __init__(
        self, latent_dim: int, ahead: nn.Module, behind: nn.Module, project: nn.Module, block: nn.Module
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.ahead, self.behind, self.project, self.block = ahead, behind, project, block

    def prior(self, state: Tensor | None) -> tuple[Distribution, Tensor | None]:
        """Return p(z | s) and s + F(s)."""
        if state is None:
            raise UsageError("Residual: needs a state above. Give TopDown a top, such as networks.Learned.")
        out = self.ahead(state)
        channels = self.latent_dim // (state.shape[-1] * state.shape[-2])
        mean, raw = (v.flatten(-3) for v in out[..., : 2 * channels, :, :].split(channels, -3))
        return gaussian(mean, bounded(raw).exp()), state + out[..., 2 * channels :, :, :]

    def posterior(self, p: Distribution, state: Tensor | None, feature: Tensor) -> Distribution:
        """Return q(z | s, h)."""
        assert state is not None
        lead = torch.broadcast_shapes(state.shape[:-3], feature.shape[:-3])
        together = torch.cat([v.expand(*lead, *v.shape[-3:]) for v in (state, feature)], -3)
        out = self.behind(together)
        mean, raw = (v.flatten(-3) for v in out.chunk(2, -3))
        return gaussian(mean, bounded(raw).exp())

    def below(self, down: Tensor | None, z: Tensor) -> Tensor:
        """Return B(s + F(s) + W z)."""
        assert down is not None
        out: Tensor = self.block(down + self.project(z))
        return out


def gaussian(mean: Tensor, deviation: Tensor) -> Distribution:
    """Return N(mean, deviation²), factorised over the last dimension."""
    return Independent(Normal(mean, deviation, validate_args=False), 1, validate_args=False)


def _moments(d: Distribution) -> tuple[Tensor, Tensor]:
    inner = d.base_dist if isinstance(d, Independent) else d
    if not isinstance(inner, Normal):
        raise UsageError(f"Ladder: a product of Gaussians needs diagonal ones, got {type(inner).__name__}.")
    return inner.loc, inner.scale.square().reciprocal()
