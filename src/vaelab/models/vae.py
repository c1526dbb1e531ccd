"""The model: a prior, a posterior and a likelihood joined."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..conditional import Conditional
from ..distributions import draw
from ..errors import UsageError
from ..noise import Noise, OnePerDraw
from ..part import Part
from ..refinements import Refinement
from ..refinements.base import LogJoint, plain
from ..shapes import Float
from .terms import Terms

GRADIENTS = ("pathwise", "stopped", "score")


@runtime_checkable
class Model(Protocol):
    """Any module with these two is a model: objectives, training, evaluation and use ask for nothing else.

    >>> isinstance(recipes.vae((5,), 2)[0], models.Model), isinstance(networks.MLP(5, 2), models.Model)
    (True, False)
    """

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
        """Return what `samples` draws from q(z | x) say about x."""

    def generate(
        self,
        n: int,
        *,
        condition: Float[Tensor, "n C"] | None = None,
        temperature: float = 1.0,
        noise: Noise | None = None,
        means: bool = False,
    ) -> Float[Tensor, " n *X"]:
        """Return n rows of x from the model."""


@runtime_checkable
class Decodes(Protocol):
    """A model whose p(x | z) is known at every place z: its layers side by side.

    >>> isinstance(recipes.vae((5,), 2)[0], models.Decodes)
    True
    """

    @property
    def latent_dim(self) -> int:
        """The number of latent dimensions, of all layers."""

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for z of shape (*lead, Z)."""


class VAE(Part):
    """p(x, z) = p(x | z) p(z), with q(z | x) for inference (Kingma & Welling 2013, section 2.1).

    The three parts are conditionals, and `refine` may better q(z | x) row by row by means of log p(x, z). A fourth,
    `missingness`, may be p(s | x) of which entries go missing. This class is final and knows no family by name.
    Shapes: x (B, *X), observed (B, *X) bool, condition (B, C), z (K, B, Z).

    >>> encoder, decoder = networks.MLP(5, posteriors.Gaussian.outputs(2)), networks.MLP(2, 5)
    >>> prior, q = priors.Gaussian(2), posteriors.Gaussian(encoder, 2)
    >>> model = VAE(prior=prior, posterior=q, likelihood=likelihoods.Bernoulli(decoder, (5,)))
    >>> model.generate(7).shape
    torch.Size([7, 5])
    """

    def __init__(
        self,
        *,
        prior: Conditional,
        posterior: Conditional,
        likelihood: Conditional,
        refine: Refinement | None = None,
        missingness: Conditional | None = None,
    ) -> None:
        super().__init__()
        parts = {"prior": prior, "posterior": posterior, "likelihood": likelihood, "missingness": missingness}
        for role, part in parts.items():
            if part is None and role == "missingness":
                continue
            if not isinstance(part, Conditional):
                raise UsageError(
                    f"VAE: the {role} is a {type(part).__name__}, expected a Conditional: docs/your-own.md."
                )
        ours, theirs = getattr(prior, "latent_dim", None), getattr(posterior, "latent_dim", None)
        if ours != theirs and ours is not None and theirs is not None:
            raise UsageError(f"VAE: the prior has latent_dim {ours}, the posterior {theirs}. Give both the same.")
        if refine is not None and missingness is not None:
            raise UsageError("VAE: q(z | x) is refined by log p(x, z), which knows no missingness. Leave one out.")
        self.prior, self.posterior, self.likelihood, self.refine = prior, posterior, likelihood, refine
        self.missingness = missingness

    @property
    def latent_dim(self) -> int:
        """The number of latent dimensions."""
        return int(self.prior.latent_dim)  # type: ignore[arg-type]

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
        """Return what `samples` draws z ~ q(z | x) say about x.

        Entries of x that were not observed are set to 0 before any network sees them (to NaN for an encoder that
        `reads_missing`), and log p(x | z) leaves them out: whatever stands there never matters.
        """
        x = admitted(x, samples, observed, gradient)
        q = self.posterior_at(x, observed, condition)
        if q.batch_shape != x.shape[:1]:
            raise UsageError(
                f"{type(self.posterior).__name__} gave q(z | x) at rows {tuple(q.batch_shape)} for x of shape "
                f"{tuple(x.shape)}, expected {(len(x),)}. Compare the network's inputs with x."
            )
        noise = noise or fresh_noise(x)
        if self.refine is not None:
            q = self.refine(q, self.log_joint(x, q, observed, condition), noise)
        z = draw(q, samples, noise)
        if gradient == "score":
            z = z.detach()
        terms = Terms(x, z, q, self.prior_at(condition), self.decode(z, condition), observed, gradient=gradient)
        if self.missingness is not None:
            terms.filled = self._filled(terms, noise)
            terms.ps = self.missingness(terms.filled)
        return terms

    def _filled(self, terms: Terms, noise: Noise) -> Float[Tensor, "K B *X"]:
        """Return x with x_missing ~ p(x | z) in its gaps, a draw for each draw of z (Ipsen et al. 2021, eq. 9)."""
        if not terms.px.has_rsample and getattr(self.missingness, "columns", None) is None:
            raise UsageError(
                f"missingness: p(x | z) is a {type(self.likelihood).__name__}, whose draws carry no gradient. "
                "It is for real numbers: gaussian, laplace, student-t; in a table of other columns too, name `columns`."
            )
        x = terms.x.expand(terms.samples, *terms.x.shape)
        if terms.observed is None:
            return x
        return torch.where(terms.observed, x, draw(terms.px, 1, OnePerDraw(noise))[0])

    def log_joint(self, x: Tensor, q: Distribution, observed: Tensor | None, condition: Tensor | None) -> LogJoint:
        """Return z (K, B, Z) -> log p(x, z), (K, B); q only says what kind of draws z are."""
        x, observed, condition = plain(x), plain(observed), plain(condition)

        def at(z: Tensor) -> Tensor:
            t = Terms(x, z, q, self.prior_at(condition), self.decode(z, condition), observed)
            return t.log_px + t.log_pz

        return at

    def posterior_at(self, x: Tensor, observed: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return q(z | x) as the encoder gives it, before any refinement; x (B, *X) is 0 where it was not observed."""
        return self.posterior(as_read(self.posterior, x, observed), condition)

    def prior_at(self, condition: Tensor | None = None) -> Distribution:
        """Return p(z), or p(z | condition)."""
        return self.prior() if condition is None else self.prior(condition)

    def decode(self, z: Float[Tensor, "*lead Z"], condition: Tensor | None = None) -> Distribution:
        """Return p(x | z) for z of shape (*lead, Z)."""
        return self.likelihood(z, condition)

    def generate(
        self,
        n: int,
        *,
        condition: Float[Tensor, "n C"] | None = None,
        temperature: float = 1.0,
        noise: Noise | None = None,
        means: bool = False,
    ) -> Float[Tensor, " n *X"]:
        """Return n draws, (n, *X): z ~ p(z), then x ~ p(x | z); with `means`, E[x | z] in place of the second draw.

        `temperature` multiplies the noise behind z: 1 is the model, less is nearer to the prior's centre.
        """
        check_rows(n, condition)
        noise = noise or fresh_noise(next(self.parameters()))
        z = draw(at_rows(self.prior_at(condition), n), 1, noise if temperature == 1 else noise.scaled(temperature))
        px = self.decode(z, condition)
        return (centre(px) if means else draw(px, 1, noise)[0])[0]


def admitted(x: Tensor, samples: int, observed: Tensor | None, gradient: str) -> Tensor:
    """Return x with what was not observed set to 0; UsageError for arguments of `terms` that make no sense."""
    if not len(x):
        raise UsageError(f"terms: x has no rows, its shape is {tuple(x.shape)}.")
    if samples < 1:
        raise UsageError(f"samples must be at least 1, got {samples}.")
    if gradient not in GRADIENTS:
        raise UsageError(f"gradient is one of {', '.join(GRADIENTS)}; got {gradient!r}.")
    if observed is not None:
        if observed.shape != x.shape or observed.dtype != torch.bool:
            raise UsageError(
                f"observed must be bool of x's shape {tuple(x.shape)}, got {observed.dtype} {tuple(observed.shape)}."
            )
        x = torch.where(observed, x, 0)
    return x


def as_read(encoder: nn.Module, x: Tensor, observed: Tensor | None) -> Tensor:
    """Return x as an encoder reads it: NaN for what was not observed, if it or its network tells that from 0."""
    parts = (encoder, getattr(encoder, "network", None))
    if observed is None or not any(getattr(part, "reads_missing", False) for part in parts):
        return x
    return torch.where(observed, x, torch.nan)


def check_rows(n: int, condition: Tensor | None) -> None:
    """Refuse a number of rows that is negative, or not that of the condition."""
    if n < 0:
        raise UsageError(f"generate: n must not be negative, got {n}.")
    if condition is not None and condition.shape[0] != n:
        raise UsageError(f"generate: {n} rows asked for, but the condition has {condition.shape[0]}.")


def at_rows(p: Distribution, n: int) -> Distribution:
    """Return p at each of n rows, where it is the same for all."""
    return p if p.batch_shape else p.expand(torch.Size([n]))


def centre(px: Distribution) -> Tensor:
    """Return E[x | z], or the most probable value where an expectation has no meaning (categories)."""
    mean = px.mean
    return torch.where(mean.isnan(), px.mode.to(mean.dtype), mean) if torch.isnan(mean).any() else mean


def fresh_noise(like: Tensor) -> Noise:
    """Return noise from a new generator, seeded by the operating system: nothing global is read or moved."""
    generator = torch.Generator(like.device)
    generator.seed()
    return Noise(generator)
