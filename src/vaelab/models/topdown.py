"""Several stochastic layers, inferred from the top down: q and p of a layer are given the same draws of those above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.distributions import Distribution

from ..conditional import Conditional
from ..distributions import draw, draw_below
from ..errors import UsageError
from ..noise import Noise
from ..part import Part
from ..shapes import Float
from .chain import refuse_stopped
from .terms import Terms
from .vae import admitted, as_read, at_rows, centre, check_rows, fresh_noise

if TYPE_CHECKING:
    from .levels import Level


class TopDown(Part):
    """p(x, z) = p(x | s0) prod_l p(zl | sl), q(z | x) = prod_l q(zl | sl, x), state sl-1 = f(sl, zl) shared by both.

    Sonderby et al. 2016 (eq. 11 to 19), Kingma et al. 2016, Child 2021. `encoders` are the deterministic way up: hl =
    encoder_l(hl-1), h0 = x; each of `levels` gives p(zl | sl), q(zl | sl, hl) and sl-1; `top`, if there is one,
    gives the state above them all (else there is none); encoders and levels are listed from x upwards. As q and p of a
    layer are given the same draws, each KL has its closed form. A condition is given to the first encoder, `top` and
    the likelihood. Shapes: x (B, *X), zl (K, B, Zl), condition (B, C); the likelihood reads s0 flat, (K, B, S).

    >>> evidence = [posteriors.Gaussian(networks.MLP(11, 2 * size), size) for size in (3, 2)]
    >>> given_above = [posteriors.Gaussian(networks.MLP(2, 6), 3), priors.Gaussian(2)]
    >>> levels = [models.Ladder(p, said) for p, said in zip(given_above, evidence)]
    >>> encoders, decode = [networks.MLP(5, 11), networks.MLP(11, 11)], likelihoods.Bernoulli(networks.MLP(3, 5), (5,))
    >>> model = models.TopDown(encoders=encoders, levels=levels, likelihood=decode)
    >>> {name: kl.shape for name, kl in model.terms(torch.zeros(7, 5), samples=13).kl.items()}
    {'z1': torch.Size([13, 7, 3]), 'z2': torch.Size([13, 7, 2])}
    """

    def __init__(
        self,
        *,
        encoders: Sequence[nn.Module] | nn.ModuleList,
        levels: Sequence[nn.Module] | nn.ModuleList,
        likelihood: Conditional,
        top: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if len(encoders) != len(levels) or not levels:
            raise UsageError(f"TopDown: needs one encoder for each level, got {len(encoders)} and {len(levels)}.")
        self.encoders, self.levels = nn.ModuleList(encoders), nn.ModuleList(levels)
        self.likelihood, self.top = likelihood, top

    @property
    def sizes(self) -> list[int]:
        """The number of latent dimensions of each layer, from x upwards."""
        return [int(level.latent_dim) for level in self.levels]  # type: ignore[arg-type]

    @property
    def latent_dim(self) -> int:
        """The number of latent dimensions, of all layers."""
        return sum(self.sizes)

    def terms(
        self,
        x: Float[Tensor, " B *X"],
        *,
        samples: int = 1,
        observed: Tensor | None = None,
        condition: Float[Tensor, "B C"] | None = None,
        noise: Noise | None = None,
        gradient: str = "pathwise",
    ) -> Terms:
        """Return what `samples` draws of all layers say about x."""
        x = admitted(x, samples, observed, gradient)
        refuse_stopped(self, gradient)
        noise = noise or fresh_noise(x)
        features = [call(self.encoders[0], as_read(self.encoders[0], x, observed), condition)]
        for encoder in self.encoders[1:]:
            features.append(encoder(features[-1]))
        q: dict[str, Distribution] = {}
        p: dict[str, Distribution] = {}
        z: dict[str, Tensor] = {}
        state = self._above(condition)
        for name, level in self._downwards():
            p[name], down = level.prior(state)
            q[name] = level.posterior(p[name], state, features[len(self.levels) - 1 - len(z)])
            z[name] = draw_below(q[name], samples, noise)
            z[name] = z[name].detach() if gradient == "score" else z[name]
            state = level.below(down, z[name])
        upwards = sorted(z, key=lambda name: int(name[1:]))
        z, q, p = ({name: values[name] for name in upwards} for values in (z, q, p))  # type: ignore[assignment]
        return Terms(x, z, q, p, self._px(state, z["z1"], condition), observed, gradient=gradient)

    def decode(self, z: Float[Tensor, "*lead Z"], condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for layers side by side from x upwards, z (*lead, Z)."""
        parts = dict(zip((f"z{i}" for i in range(1, len(self.levels) + 1)), z.split(self.sizes, -1)))
        state = self._above(condition)
        for name, level in self._downwards():
            state = level.below(level.prior(state)[1], parts[name])
        return self._px(state, parts["z1"], condition)

    def generate(
        self,
        n: int,
        *,
        condition: Float[Tensor, "n C"] | None = None,
        temperature: float = 1.0,
        noise: Noise | None = None,
        means: bool = False,
    ) -> Float[Tensor, " n *X"]:
        """Return n draws, (n, *X), layer by layer from the top; `temperature` multiplies the noise of every layer."""
        check_rows(n, condition)
        noise = noise or fresh_noise(next(self.parameters()))
        cold = noise if temperature == 1 else noise.scaled(temperature)
        state = self._above(condition)
        for _, level in self._downwards():
            p, down = level.prior(state)
            z = draw_below(at_rows(p, n), 1, cold)
            state = level.below(down, z)
        px = self._px(state, z, condition)
        return (centre(px) if means else draw(px, 1, noise)[0])[0]

    def _downwards(self) -> list[tuple[str, Level]]:
        return [(f"z{i}", self.levels[i - 1]) for i in range(len(self.levels), 0, -1)]  # type: ignore[misc]

    def _above(self, condition: Tensor | None) -> Tensor | None:
        return None if self.top is None else call(self.top, None, condition)

    def _px(self, state: Tensor | None, z: Tensor, condition: Tensor | None) -> Distribution:
        assert state is not None
        return self.likelihood(state.flatten(z.ndim - 1), condition)


def call(network: nn.Module, given: Tensor | None, condition: Tensor | None) -> Tensor:
    """Return network(given), or network(given, condition) where there is a condition."""
    out: Tensor = network(given) if condition is None else network(given, condition)
    return out
