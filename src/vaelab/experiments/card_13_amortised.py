"""Card 13: one network gives q's parameters for every x, in the place of optimising them for each x."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import networks, posteriors, recipes
from ..conditional import Conditional
from ..evaluation import Estimate
from ..evaluation.quadrature import log_evidence
from ..evaluation.rules import trapezoid
from ..models import VAE
from ..noise import Mirrored
from ..objectives import ELBO
from ..part import inference
from . import lab
from .base import Trial, experiment
from .picture import GREY, VERMILION, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LATENTS, COLUMNS, ROWS, JUDGED = 2, 8, 40_000, 400
NEAR = 0.25  # nats
SMALL, LARGE = (3,), (128, 128)  # hidden units of the encoders


def process(trial: Trial, name: str) -> VAE:
    """Return a random process with a bent decoder, none of whose parameters is to be learned."""
    model, _ = recipes.vae((COLUMNS,), LATENTS, hidden=(10,), activation="tanh", likelihood="gaussian:scale=0.5")
    with torch.no_grad():
        for parameter in model.likelihood.parameters():
            parameter.copy_(0.9 * torch.randn(parameter.shape, generator=trial.generator(name)))
    return model.requires_grad_(False)


def with_posterior(model: VAE, posterior: Conditional) -> VAE:
    """Return the same prior and decoder with another q."""
    return VAE(prior=model.prior, posterior=posterior, likelihood=model.likelihood)


def encoder(model: VAE, hidden: tuple[int, ...], trial: Trial, name: str) -> VAE:
    """Return the process with an encoder trained on rows drawn from it."""
    with torch.no_grad():
        x = model.generate(ROWS, noise=trial.noise(f"{name} rows"))
    network = networks.MLP(COLUMNS, 2 * LATENTS, hidden)
    amortised = with_posterior(model, posteriors.Gaussian(network, LATENTS))
    steps = 8000 if trial.full else 1400
    lab.train(amortised, x, steps=steps, batch_size=250, lr=5e-3, seed=trial.seed)
    return amortised


def row_by_row(
    model: VAE, x: Tensor, family: type[posteriors.Amortized], trial: Trial, start: VAE | None = None
) -> VAE:
    """Return the process with parameters of q optimised for each row, from 0 or from where a smaller family ended.

    From there a row stays in the mode of its posterior that it had found: another one would add noise to a difference.
    """
    table = networks.PerRow(len(x), family.outputs(LATENTS))
    if start is not None:
        found = lab.numbers(start.posterior).detach()
        table.values.data[:, : found.shape[1]] = found
    best = with_posterior(model, family(table, LATENTS))
    steps = 2000 if trial.full else 300
    return lab.ascend(best, x, steps=steps, noise=Mirrored(trial.noise("ascent")), objective=ELBO(samples=16), lr=0.1)


@experiment(
    13,
    "What is amortised inference?",
    statement="one network gives q's parameters for every x, instead of optimising them per x",
    control="the encoder of another data set",
)
def measure(trial: Trial) -> None:
    """Encoders against per-row optimisation on held-out rows: nats and time; the gap in its two parts."""
    truth = process(trial, "process")
    with torch.no_grad():
        x = truth.generate(JUDGED, noise=trial.noise("held-out"))
    learned = process(trial, "another process") if trial.control else truth
    large = with_posterior(truth, encoder(learned, LARGE, trial, "large").posterior)
    small = encoder(truth, SMALL, trial, "small")
    start = time.process_time()
    diagonal = row_by_row(truth, x, posteriors.Gaussian, trial)
    slow = time.process_time() - start
    full = row_by_row(truth, x, posteriors.FullGaussian, trial, start=diagonal)
    repeats, start = 50, time.process_time()
    with inference(large):
        for _ in range(repeats):
            large.posterior(x)
    fast = (time.process_time() - start) / repeats

    bounds = {}
    models = {"small encoder": small, "large encoder": large, "row by row": diagonal, "row by row, full": full}
    for name, model in models.items():
        with inference(model):
            terms = model.terms(x, samples=500, noise=trial.noise("judge"))  # the same noise for all
            bounds[name] = terms.mean(terms.log_w).double()
    evidence = log_evidence(truth.double(), x.double(), trapezoid(6.0, 161, 2))
    amortisation = {name: Estimate.of(bounds["row by row"] - bounds[name]) for name in list(models)[:2]}
    trial.claim(
        f"the encoder comes within {NEAR} nats of optimising q for each of {JUDGED} held-out rows",
        amortisation["large encoder"].value <= NEAR,
        amortisation_gap=amortisation["large encoder"],
    )
    trial.claim(
        "at no more than 1/100 of the processor time",
        fast <= slow / 100,
        seconds_encoder=fast,
        seconds_row_by_row=slow,
        share=fast / slow,
    )
    narrower = Estimate.of(bounds["large encoder"] - bounds["small encoder"])
    trial.claim(
        f"{sum(LARGE)} hidden units in the place of {sum(SMALL)} narrow the amortisation gap by more than 5 standard "
        "errors",
        narrower.value > 5 * narrower.se,
        gap_small=amortisation["small encoder"],
        gap_large=amortisation["large encoder"],
        narrower=narrower,
    )
    richer = Estimate.of(bounds["row by row, full"] - bounds["row by row"])
    trial.claim(
        "a full covariance in the place of a diagonal one narrows the approximation gap by more than 5 standard errors",
        richer.value > 5 * richer.se,
        gap_diagonal=Estimate.of(evidence - bounds["row by row"]),
        gap_full=Estimate.of(evidence - bounds["row by row, full"]),
        narrower=richer,
    )

    def paint(figure: Figure) -> None:
        axis = figure.subplots()
        names = list(models)
        best = [bounds["row by row"], bounds["row by row"], bounds["row by row"], bounds["row by row, full"]]
        approximation = [(evidence - b).mean().item() for b in best]
        lost = [max(0.0, (b - bounds[name]).mean().item()) for name, b in zip(names, best)]
        axis.barh(names, approximation, color=GREY, label="approximation gap")
        axis.barh(names, lost, left=approximation, color=VERMILION, label="amortisation gap")
        axis.invert_yaxis()
        tidy(axis, "log p(x) - ELBO, nats per row (held-out)", "", legend="lower right")

    trial.draw(paint, width=9, height=4)
