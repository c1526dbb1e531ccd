"""Semi-amortised inference: a few steps of ascent on each row's own bound."""

from __future__ import annotations

import torch
from torch.distributions import Distribution, Independent, Normal

from ..errors import UsageError
from ..noise import Noise
from .base import LogJoint, Refinement, diagonal, gradients


class GradientSteps(Refinement):
    """q <- q + rate F^-1 grad ELBO(q), `steps` times for every row from the encoder's mu and sigma.

    Kim et al. 2018 (Semi-Amortized VAE, Algorithm 1), with the natural gradient F^-1: sigma² for mu and 1/2 for
    log sigma, each entry of a step at most one sigma, or 1. A step's gradient is over `samples` pairs of draws ±e of
    its own, independent of the draws of z: q stays a Gaussian and E[w] = p(x). In training the gradient reaches the
    encoder through all steps. Starts from posteriors.Gaussian; raises UsageError for another.

    >>> model, _ = recipes.semi_amortised((5,), 2)
    >>> model.terms(torch.zeros(7, 5), samples=3).log_w.shape
    torch.Size([3, 7])
    """

    def __init__(self, steps: int = 5, rate: float = 0.2, samples: int = 1) -> None:
        super().__init__()
        if steps < 1 or not rate > 0 or samples < 1:
            raise UsageError(
                f"GradientSteps: steps and samples are at least 1, rate above 0; got {steps}, {samples}, {rate}."
            )
        self.steps, self.rate, self.samples = steps, rate, samples

    def forward(self, q: Distribution, log_joint: LogJoint, noise: Noise) -> Distribution:
        """Return the Gaussian after the last step."""
        loc, scale = diagonal(q, "gradient-steps")
        with gradients() as keep:
            log_scale = scale.log()
            for _ in range(self.steps):
                loc, log_scale = (v if v.requires_grad else v.detach().requires_grad_() for v in (loc, log_scale))
                e = noise.normal((self.samples, *loc.shape), loc)
                z = loc + log_scale.exp() * torch.cat([e, -e])
                bound = log_joint(z).mean(0).sum() + log_scale.sum()
                slopes = torch.autograd.grad(bound, (loc, log_scale), create_graph=keep)
                step = (self.rate * log_scale.exp() * slopes[0]).clamp(-1, 1)
                loc = loc + log_scale.exp() * step
                log_scale = log_scale + (0.5 * self.rate * slopes[1]).clamp(-1, 1)
                if not keep:
                    loc, log_scale = loc.detach(), log_scale.detach()
        return Independent(Normal(loc, log_scale.exp(), validate_args=False), 1, validate_args=False)
