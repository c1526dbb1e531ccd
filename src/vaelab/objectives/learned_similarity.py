"""Reconstructions judged by what a discriminator sees in them: VAE-GAN."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from ..models import VAE, Model, Terms
from ..networks import MLP, Conv
from ..noise import Noise
from ..shapes import Float
from .base import Objective, codes, equal_weights, two_sides
from .critic import prior_draws
from .similarity import expected


class LearnedSimilarity(Objective):
    """Encoder -KL + L; decoder gamma L + log D(x~) D(x_p); D log D(x) (1 - D(x~)) (1 - D(x_p)) (Larsen et al. 2016).

    L = log N(h(x); h(x~), I) but for its constant, h the last hidden layer of the discriminator D: what D looks at is
    the measure of likeness. x~ = E[x | z] for z ~ q(z | x), x_p the same for z ~ p(z) (their Algorithm 1; the decoder
    maximises log D where they minimise log(1 - D), which has no gradient while D wins). D has `layers` dense layers of
    `width` units, or with discriminator="conv" convolutions before one. Owners: "encoder", "decoder", "discriminator".

    This is no bound on log p(x): what `evaluate` says of it is that of the model's own likelihood. By that bound
    training picks its best weights, so the decoder hears `pixels` times log p(x | z) as well; 0 is as published, but
    then nobody fits that likelihood, and the bound falls as training goes on. Raises UsageError for a likelihood
    without a mean, and for a model other than VAE.

    >>> model, objective = recipes.vae_gan((5,), 2)
    >>> losses, terms = objective(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> sorted(losses)
    ['decoder', 'discriminator', 'encoder']
    """

    def __init__(
        self,
        shape: Sequence[int],
        gamma: float = 1.0,
        pixels: float = 1.0,
        width: int = 256,
        layers: int = 2,
        discriminator: str = "mlp",
        samples: int = 1,
    ) -> None:
        super().__init__()
        self.shape, self.gamma, self.pixels, self.width, self.layers = tuple(shape), gamma, pixels, width, layers
        self.discriminator, self.samples = discriminator, samples
        self.require(
            gamma=(gamma >= 0, "at least 0"),
            pixels=(pixels >= 0, "at least 0"),
            width=(width >= 1, "at least 1"),
            layers=(layers >= 1, "at least 1"),
            discriminator=(discriminator in ("mlp", "conv"), "'mlp' or 'conv'"),
            samples=(samples >= 1, "at least 1"),
        )
        if discriminator == "conv":
            if len(self.shape) != 3:
                raise UsageError(f"LearnedSimilarity: discriminator 'conv' is for images, x has shape {self.shape}.")
            self.body: nn.Module = Conv(self.shape, width, width=32, norm="none")
        else:
            self.body = MLP(self.shape, width, (width,) * (layers - 1), "silu")
        self.head = nn.Linear(width, 1)

    def owners(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of q(z | x), of p(x, z) and of the discriminator."""
        sides = two_sides(model, self)
        own = list(self.parameters())
        return {"encoder": sides["recognition"], "decoder": sides["generative"], "discriminator": own}

    def features(self, x: Float[Tensor, ...]) -> Float[Tensor, "*lead F"]:
        """Return h(x), what the discriminator decides by."""
        return F.silu(self.body(x))

    def logit(self, features: Float[Tensor, "*lead F"]) -> Float[Tensor, "*lead"]:
        """Return log D / (1 - D)."""
        return self.head(features).squeeze(-1)

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
        """Return the losses of encoder, decoder and discriminator, (B,) each, and the terms."""
        if not isinstance(model, VAE):
            raise UsageError(f"LearnedSimilarity needs a VAE, which decodes draws of p(z); got {type(model).__name__}.")
        terms = model.terms(x, samples=self.samples, observed=observed, condition=condition, noise=noise)
        equal_weights(terms, self)
        codes(terms, self)
        dreamt = model.decode(prior_draws(terms, noise), condition)
        real = self.features(terms.x)
        seen = self.features(expected(terms.px, observed, self))
        unlike = 0.5 * (real - seen).square().sum(-1)
        fakes = [self.logit(seen), self.logit(self.features(expected(dreamt, observed, self)))]
        fooled = sum(F.softplus(-fake) for fake in fakes)
        caught = sum(F.softplus(fake) for fake in fakes) + F.softplus(-self.logit(real))
        # the KL moves a learned prior, which is the decoder's; of the decoder itself it knows nothing
        losses = {
            "encoder": terms.kl_total + unlike,
            "decoder": self.gamma * unlike + fooled + terms.kl_total - self.pixels * terms.log_px,
            "discriminator": caught,
        }
        return {owner: terms.mean(loss) for owner, loss in losses.items()}, terms
