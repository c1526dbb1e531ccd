"""Card 8: nothing shapes the latent space of an autoencoder, so it is no generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import priors
from ..distributions import closed_form_kl
from ..evaluation import Estimate
from ..models import VAE
from ..use.refit import codes_of, refit
from .base import Trial, experiment
from .nearest import drawn, reach
from .picture import BLUE, GREY, ORANGE, VERMILION, tidy
from .pixels import LATENTS, Digits, model_of, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def mismatch(z: Tensor, model: VAE) -> float:
    """KL(N(m, S) || p(z)), nats, with m and S the moments of codes (N, Z)."""
    full = torch.distributions.MultivariateNormal(z.mean(0), z.T.cov() + 1e-6 * torch.eye(z.shape[1]))
    kl = closed_form_kl(full, model.prior_at())
    assert kl is not None
    return kl.sum().item()


@experiment(
    8,
    "Why is an autoencoder no generator?",
    statement="nothing shapes its latent space: prior draws fall where no code is",
    control="the autoencoder's codes replaced by the VAE's",
)
def measure(trial: Trial) -> None:
    """Coverage of decoded prior draws: autoencoder as it is, with a Gaussian fitted to its codes, and VAE.

    That the fitted one stays below the VAE is often said, and is not so here: it is shown, and nothing is claimed.
    """
    digits = Digits.split(trial)
    vae = model_of(digits, trial)
    plain = vae if trial.control else model_of(digits, trial, autoencoder=True)
    fitted = refit(plain, digits.train, priors.Mixture(LATENTS, components=1, covariance="full"), seed=trial.seed)
    models = {"autoencoder": plain, "autoencoder, fitted Gaussian": fitted, "VAE": vae}
    found = {name: reach(model, digits.reference, trial) for name, model in models.items()}
    raw, whitened, whole = (coverage for coverage, _ in found.values())
    z = codes_of(plain, digits.train, most=1, seed=trial.seed)[0]
    own = codes_of(vae, digits.train, most=1, seed=trial.seed)[0]
    trial.claim(
        "N(0, I) decoded by the autoencoder covers at most half of the held-out rows that the VAE's draws cover",
        raw.value <= 0.5 * whole.value,
        coverage=raw,
        coverage_of_the_vae=whole,
    )
    apart, shaped = mismatch(z, plain), mismatch(own, vae)
    trial.claim(
        "its codes lie farther from N(0, I) than the VAE's: KL of their two moments, nats",
        apart > shaped,
        autoencoder=apart,
        vae=shaped,
    )
    trial.show(
        "with a Gaussian fitted to its codes in the place of N(0, I) the autoencoder draws well, at times better than "
        "the VAE: what it lacks is a density of its codes, not a decoder (Ghosh et al. 2020)",
        coverage=whitened,
        coverage_of_the_vae=whole,
        difference=Estimate(whole.value - whitened.value, (whole.se**2 + whitened.se**2) ** 0.5),
        **{f"density_{name}": dense for name, (_, dense) in zip(("raw", "fitted", "vae"), found.values())},
    )
    lines = torch.cat([drawn(model, 10, trial, "picture") for model in models.values()])

    def paint(figure: Figure) -> None:
        plane, images, bars = figure.subplots(1, 3, width_ratios=(4, 5, 4))
        plane.plot(*z[:, :2].T, "o", color=VERMILION, markersize=2.5, alpha=0.5, label="autoencoder")
        plane.plot(*own[:, :2].T, "o", color=BLUE, markersize=2.5, alpha=0.5, label="VAE")
        tidy(plane, "z1", "z2", "codes", legend="upper left")
        names = ["autoencoder", "fitted", "VAE"]
        show(images, lines, 10, names)
        images.set_title("decoded prior draws", loc="left")
        values = [raw, whitened, whole]
        errors = [2 * v.se for v in values]
        bars.bar(range(3), [v.value for v in values], 0.6, yerr=errors, color=[VERMILION, ORANGE, BLUE], capsize=5)
        bars.axhline(0.5 * whole.value, color=GREY, linestyle="--", label="half of the VAE's")
        bars.set_xticks(range(3), names, fontsize=11)
        tidy(bars, "", "coverage of held-out rows", legend="upper left")
        bars.margins(y=0.2)

    trial.draw(paint, width=13, height=4)
