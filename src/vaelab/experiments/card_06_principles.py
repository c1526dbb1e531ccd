"""Card 6: encoder, sampling, prior, reconstruction + KL: each taken away in turn, one inequality each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import Distribution

from .. import priors, recipes
from ..conditional import Conditional
from ..evaluation import Estimate, evidence_rows
from ..models import VAE
from ..objectives import elbo
from ..training import Rows
from . import lab
from .base import Trial, experiment
from .nearest import drawn, reach
from .picture import BLUE, GREY, VERMILION, tidy
from .pixels import LATENTS, SCALE, Digits, codes, decodes, learn, model_of, show, squared_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Blind(Conditional):
    """q(z | x) = p(z): no encoder."""

    def __init__(self, prior: Conditional, latent_dim: int) -> None:
        super().__init__()
        self.prior, self.latent_dim = prior, latent_dim

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(z) for every row."""
        assert given is not None
        return self.prior().expand(torch.Size([len(given)]))


class Narrow(Conditional):
    """q(z | x) of another posterior with its deviations a thousandth: next to no noise."""

    def __init__(self, posterior: Conditional, latent_dim: int) -> None:
        super().__init__()
        self.posterior, self.latent_dim = posterior, latent_dim

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return the narrow q(z | x)."""
        q = self.posterior(given)
        normal = torch.distributions.Normal(q.mean, 1e-3 * q.stddev, validate_args=False)
        return torch.distributions.Independent(normal, 1, validate_args=False)


@experiment(
    6,
    "The four principles of a VAE",
    statement="autoencoder structure; Gaussian sampling layer; N(0, I) prior; reconstruction + KL",
    control="nothing taken away: the whole VAE in the place of each ablation",
)
def measure(trial: Trial) -> None:
    """Four ablations, one inequality each."""
    digits = Digits.split(trial)
    whole = model_of(digits, trial)
    rows = Rows(lab.data_of(digits.held_out))
    judged = evidence_rows(whole, rows, samples=20, seed=trial.seed)

    # 1 no encoder
    blind = whole
    if not trial.control:
        fresh, _ = recipes.vae((64,), LATENTS, hidden=(128,), likelihood=f"gaussian:scale={SCALE}")
        blind = VAE(prior=fresh.prior, posterior=Blind(fresh.prior, LATENTS), likelihood=fresh.likelihood)
        learn(blind, digits, trial)
    unseen = evidence_rows(blind, rows, samples=20, seed=trial.seed)
    assert unseen.kl is not None
    rate = Estimate.of(unseen.kl.sum(1))
    distortion = Estimate.of(squared_error(unseen.reconstruction))
    spread = digits.rows.var(0).sum().item()
    trial.claim("no encoder, q = p(z): the rate is 0", rate.value < 1e-6, rate=rate)
    trial.claim(
        "and the mean squared error is the variance of the data within 10 %: every row gets the same",
        abs(distortion.value / spread - 1) < 0.1,
        squared_error=distortion,
        variance_of_data=spread,
    )

    # 2 no noise
    posterior = whole.posterior if trial.control else Narrow(whole.posterior, LATENTS)
    sharp = VAE(prior=whole.prior, posterior=posterior, likelihood=whole.likelihood)
    lost = Estimate.of(judged.elbo - evidence_rows(sharp, rows, samples=20, seed=trial.seed).elbo)
    trial.claim(
        "no noise, sigma -> 0: the bound is worse by more than 5 standard errors", lost.value > 5 * lost.se, lost=lost
    )

    # 3 another prior
    wide = VAE(
        prior=whole.prior if trial.control else priors.Gaussian(LATENTS, scale=3.0),
        posterior=whole.posterior,
        likelihood=whole.likelihood,
    ).double()
    with torch.no_grad():
        x = rows.data.double()
        falls = elbo(whole.double().terms(x, noise=trial.noise("prior"))) - elbo(
            wide.terms(x, noise=trial.noise("prior"))
        )
        q = whole.posterior(x)
        by_hand = (math.log(3.0) + 0.5 * (q.stddev**2 + q.mean**2) * (1 / 9 - 1)).sum(-1)
    off, fall = (falls - by_hand).abs().max().item(), Estimate.of(falls)
    trial.claim(
        "prior N(0, 9 I) after training: the bound falls, by exactly the change of the KL (1e-9 nats in every row)",
        fall.value > 5 * fall.se and off < 1e-9,
        falls=fall,
        largest_error=off,
    )
    whole.float()

    # 4 no KL
    free = whole if trial.control else model_of(digits, trial, beta=0.0)
    reached = {"whole": reach(whole, digits.reference, trial)[0], "without": reach(free, digits.reference, trial)[0]}
    trial.claim(
        "no KL: decoded prior draws cover at most half of the held-out rows that the whole VAE's cover",
        reached["without"].value <= 0.5 * reached["whole"].value,
        coverage=reached["without"],
        coverage_of_the_whole=reached["whole"],
    )
    seen = digits.reference[:10]
    lines = torch.cat(
        [
            seen,
            decodes(whole, codes(whole, seen)),
            decodes(blind, torch.zeros(10, LATENTS)),
            drawn(whole, 10, trial, "picture"),
            drawn(free, 10, trial, "picture"),
        ]
    )

    def paint(figure: Figure) -> None:
        images, bars = figure.subplots(1, 2, width_ratios=(3, 2))
        names = ["held-out rows", "whole VAE's decodes", "no encoder's decodes", "whole VAE's draws", "no KL's draws"]
        show(images, lines, 10, names)
        values = [judged.elbo.mean().item(), unseen.elbo.mean().item(), judged.elbo.mean().item() - lost.value,
                  judged.elbo.mean().item() - fall.value]  # fmt: skip
        names = ["whole", "no encoder", "no noise", "prior N(0, 9 I)"]
        bars.barh(range(4), [values[0] - v for v in values], color=[BLUE, *[VERMILION] * 3])
        bars.set_yticks(range(4), names)
        bars.invert_yaxis()
        bars.axvline(0, color=GREY)
        bars.set_xscale("symlog", linthresh=1)
        tidy(bars, "held-out bound lost, nats per row", "")

    trial.draw(paint, width=12, height=4.5)
