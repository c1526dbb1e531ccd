"""Several stochastic layers, inferred from x upwards."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.distributions import Distribution

from ..conditional import Conditional
from ..distributions import draw, draw_below
from ..errors import UsageError
from ..noise import Noise
from ..part import Part
from ..shapes import Float
from .terms import Terms
from .vae import admitted, as_read, at_rows, centre, check_rows, fresh_noise


class Chain(Part):
    """p(x, z) = p(x | z1) p(z1 | z2) ... p(zL), with q(z | x) = q(z1 | x) q(z2 | z1) ... q(zL | zL-1).

    Burda, Grosse & Salakhutdinov 2016, section 2 (eq. 1 and 2). `posteriors` and `links`, p(z1 | z2), ..., are
    conditionals, listed from x upwards; L posteriors need L - 1 links. The KL of a layer below the top is sampled:
    p(zl | zl+1) depends on a draw that zl led to, so the closed form at that draw is not its mean. A condition is given
    to q(z1 | x), p(x | z1) and p(zL). Shapes: x (B, *X), zl (K, B, Zl), condition (B, C).

    >>> encode = [posteriors.Gaussian(networks.MLP(i, 2 * o), o) for i, o in ((5, 3), (3, 2))]
    >>> link, decode = posteriors.Gaussian(networks.MLP(2, 6), 3), likelihoods.Bernoulli(networks.MLP(3, 5), (5,))
    >>> model = models.Chain(prior=priors.Gaussian(2), posteriors=encode, links=[link], likelihood=decode)
    >>> {name: kl.shape for name, kl in model.terms(torch.zeros(7, 5), samples=11).kl.items()}
    {'z1': torch.Size([11, 7, 3]), 'z2': torch.Size([11, 7, 2])}
    """

    def __init__(
        self,
        *,
        prior: Conditional,
        posteriors: Sequence[nn.Module] | nn.ModuleList,
        links: Sequence[nn.Module] | nn.ModuleList,
        likelihood: Conditional,
    ) -> None:
        super().__init__()
        if len(posteriors) != len(links) + 1:
            raise UsageError(f"Chain: {len(posteriors)} posteriors need {len(posteriors) - 1} links, got {len(links)}.")
        self.prior, self.likelihood = prior, likelihood
        self.posteriors, self.links = nn.ModuleList(posteriors), nn.ModuleList(links)

    @property
    def sizes(self) -> list[int]:
        """The number of latent dimensions of each layer, from x upwards."""
        return [int(q.latent_dim) for q in self.posteriors]  # type: ignore[arg-type]

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
        q: dict[str, Distribution] = {}
        z: dict[str, Tensor] = {}
        given, beside = as_read(self.posteriors[0], x, observed), condition
        for number, posterior in enumerate(self.posteriors, start=1):
            q[f"z{number}"] = posterior(given, beside)
            given = draw_below(q[f"z{number}"], samples, noise)
            given = given.detach() if gradient == "score" else given
            z[f"z{number}"], beside = given, None
        p: dict[str, Distribution] = {}
        for name, (link, above) in zip(z, zip(self.links, list(z.values())[1:])):
            p[name] = link(above)
        *below, top = z
        p[top] = self.prior() if condition is None else self.prior(condition)
        px = self.likelihood(z["z1"], condition)
        return Terms(x, z, q, p, px, observed, gradient=gradient, sampled=tuple(below))

    def decode(self, z: Float[Tensor, "*lead Z"], condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for layers side by side, z (*lead, Z): only the first matters."""
        return self.likelihood(z[..., : self.sizes[0]], condition)

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
        z = draw(at_rows(self.prior() if condition is None else self.prior(condition), n), 1, cold)
        for link in reversed(self.links):
            z = draw_below(link(z), 1, cold)
        px = self.likelihood(z, condition)
        return (centre(px) if means else draw(px, 1, noise)[0])[0]


def refuse_stopped(model: nn.Module, gradient: str) -> None:
    """Refuse gradient="stopped", whose parameters would be held together with the draws that they were made from."""
    if gradient == "stopped":
        raise UsageError(
            f"{type(model).__name__}: gradient 'stopped' is for one stochastic layer: holding the parameters of q(z1 | "
            "z2, x) would hold z2 too, and bias the gradient. Use 'pathwise'."
        )
