"""A class beside the latent place, known for some rows: summed over where it is not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, OneHotCategorical

from ..conditional import Conditional
from ..distributions import draw, draw_below
from ..noise import Noise
from ..part import Part
from ..shapes import Float
from .chain import refuse_stopped
from .terms import Terms
from .vae import admitted, as_read, at_rows, centre, check_rows, fresh_noise

NEVER = -1e4  # the log-probability of a class that a label rules out: its exponential is 0, and 0 times it is 0


class SemiSupervised(Part):
    """p(x, y, z) = p(x | y, z) p(y) p(z), p(y) uniform, with q(y, z | x) = q(y | x) q(z | x, y).

    Kingma, Rezende, Mohamed & Welling 2014 (M2), eq. 6 and 7. All C classes are enumerated: K samples are K C draws
    with log-weights log q(y | x) - log K, so bounds sum over y exactly. The condition is the label, (B, C), a unit
    vector, or all 0 for a row without one; q(y | x) of a row with a label is that label, its bound one on log p(x, y).
    `classifier` gives the logits of q(y | x), (B, C); posterior and likelihood read y as their condition.

    >>> q = posteriors.Gaussian(networks.MLP(5, 4, condition=3), 2)
    >>> px = likelihoods.Bernoulli(networks.MLP(2, 5, condition=3), (5,))
    >>> parts = {"classifier": networks.MLP(5, 3), "prior": priors.Gaussian(2), "posterior": q, "likelihood": px}
    >>> model = models.SemiSupervised(**parts, classes=("a", "b", "c"))
    >>> terms = model.terms(torch.zeros(7, 5), samples=2)
    >>> terms.log_w.shape, torch.allclose(terms.log_weight.exp().sum(0), torch.ones(7))
    (torch.Size([6, 7]), True)
    """

    def __init__(
        self,
        *,
        classifier: nn.Module,
        prior: Conditional,
        posterior: Conditional,
        likelihood: Conditional,
        classes: Sequence[str],
    ) -> None:
        super().__init__()
        self.classifier, self.prior, self.posterior, self.likelihood = classifier, prior, posterior, likelihood
        self.classes = tuple(classes)

    @property
    def latent_dim(self) -> int:
        """The number of latent dimensions of z."""
        return int(self.prior.latent_dim)  # type: ignore[arg-type]

    def classify(self, x: Float[Tensor, " B *X"], observed: Tensor | None = None) -> OneHotCategorical:
        """Return q(y | x), batch shape (B,); what stands where x was not observed never matters."""
        x = admitted(x, 1, observed, "pathwise")
        return OneHotCategorical(logits=self.classifier(as_read(self.classifier, x, observed)), validate_args=False)

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
        """Return what `samples` draws of z for each class say about x."""
        x = admitted(x, samples, observed, gradient)
        refuse_stopped(self, gradient)
        qy = self.classify(x, observed)
        if condition is not None:
            label = condition.to(qy.logits.dtype)
            known = label.sum(-1, keepdim=True) > 0
            qy = OneHotCategorical(logits=torch.where(known, NEVER * (1 - label), qy.logits), validate_args=False)
        count, rows = len(self.classes), len(x)
        unit = torch.eye(count, dtype=qy.logits.dtype, device=x.device)
        y = unit.repeat(samples, 1).unsqueeze(1).expand(samples * count, rows, count)
        q = self.posterior(as_read(self.posterior, x, observed).expand(samples * count, *x.shape), y)
        z = draw_below(q, samples * count, noise or fresh_noise(x))
        z = z.detach() if gradient == "score" else z
        log_weight = qy.log_prob(y) - torch.log(torch.tensor(float(samples), dtype=z.dtype)).to(z.device)
        return Terms(
            x,
            {"z": z, "y": y},
            {"z": q, "y": qy},
            {"z": self.prior(), "y": self.prior_of_classes(unit)},
            self.likelihood(z, y),
            observed,
            log_weight=log_weight,
            gradient=gradient,
        )

    def prior_of_classes(self, like: Tensor) -> OneHotCategorical:
        """Return p(y), uniform."""
        return OneHotCategorical(logits=like.new_zeros(len(self.classes)), validate_args=False)

    def decode(self, z: Float[Tensor, "*lead Z"], condition: Tensor | None = None) -> Distribution:
        """Return p(x | y, z), the condition being y."""
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
        """Return n draws, (n, *X): y ~ p(y) unless it is the condition, z ~ p(z), x ~ p(x | y, z)."""
        check_rows(n, condition)
        like = next(self.parameters())
        noise = noise or fresh_noise(like)
        y = draw(at_rows(self.prior_of_classes(like), n), 1, noise)[0] if condition is None else condition.to(like)
        z = draw(at_rows(self.prior(), n), 1, noise if temperature == 1 else noise.scaled(temperature))
        px = self.likelihood(z, y)
        return (centre(px) if means else draw(px, 1, noise)[0])[0]
