"""Card 18: data come from a random process with an unobserved continuous z, which a model can find again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import recipes
from ..evaluation import Estimate, evidence_rows
from ..evaluation.quadrature import log_evidence, log_joint
from ..evaluation.rules import trapezoid
from ..models import VAE
from ..training import Rows
from . import lab
from .base import Trial, experiment
from .linear import Process
from .picture import BLUE, GREY, VERMILION, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, HELD_OUT, NOISE = 20_000, 5000, 0.4


def curve(trial: Trial, latents: int) -> tuple[VAE, Tensor, Tensor]:
    """Return the process x = f(z) + 0.4 noise in four dimensions, as a model, with training and held-out rows.

    f(z) = (z1, sin 1.5 z1, cos 1.5 z1, z2 or 0): a curve with one latent, a surface with two.
    """
    model, _ = recipes.vae((4,), latents, likelihood=f"gaussian:scale={NOISE}")
    model.likelihood.network = Coil()  # the truth needs no weights
    model = model.double()
    with torch.no_grad():
        rows = model.generate(ROWS + HELD_OUT, noise=trial.noise("curve"))
    return model, rows[:ROWS], rows[ROWS:]


class Coil(torch.nn.Module):
    """f of the simulated process."""

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return f(z), (*lead, 4)."""
        first = z[..., 0]
        last = 1.5 * z[..., 1] if z.shape[-1] > 1 else torch.zeros_like(first)
        return torch.stack([first, (1.5 * first).sin(), (1.5 * first).cos(), last], -1)


def means(model: VAE, x: Tensor) -> Tensor:
    """Return E[z] of rows, (N, Z)."""
    return evidence_rows(model, Rows(lab.data_of(x), dtype=lab.F64), samples=1).mean


def found_again(mean: Tensor, truth: Tensor) -> float:
    """The smallest canonical correlation of two sets of codes: 1 if one is a linear map of the other."""
    bases = [torch.linalg.qr(v - v.mean(0))[0] for v in (mean, truth)]
    return torch.linalg.svdvals(bases[0].T @ bases[1]).min().item()


@experiment(
    18,
    "Assumption on how data arise",
    statement="a random process with an unobserved continuous z; the model finds its density, z up to symmetry",
    control="wrong latent size: one latent fewer than the process",
)
def measure(trial: Trial) -> None:
    """Held-out log p(x) of trained models against the true processes'; codes against true posterior means."""
    steps = 8000 if trial.full else 1000
    extra = int(trial.control)
    process, train, test = curve(trial, 1 + extra)
    model, objective = recipes.vae((4,), 1, hidden=(32, 32), activation="silu", likelihood="gaussian:scale=shared")
    lab.train(model, train, steps=steps, objective=objective, batch_size=500, lr=1e-2, seed=trial.seed)
    model = model.double()
    rule = trapezoid(7.0, 201)
    truth = log_evidence(process, test, rule if not extra else trapezoid(6.0, 61, 2))
    lost = Estimate.of(truth - log_evidence(model, test, rule))
    trial.claim(
        "one latent, a coil in four dimensions: held-out log p(x), by quadrature, is within 0.05 nats of the process's",
        abs(lost.value) <= 0.05,
        lost=lost,
        process=Estimate.of(truth),
    )
    codes, x1 = means(model, test), test[:, :1]  # x1 = z + noise; the rest of the row places z far better
    z = posterior_mean(process, test)
    sign = found_again(codes, z)
    trial.claim(
        "its z is found up to its sign: |correlation| of E_q[z] with the process's E[z | x] is above 0.99",
        sign > 0.99,
        correlation=sign,
        correlation_of_x1_with_it=found_again(x1, z),
    )

    latents = 2
    linear = Process.random(6, latents, trial.generator("linear"))
    rows = linear.rows(ROWS + HELD_OUT, trial.generator("rows"))
    train, test = rows[:ROWS], rows[ROWS:]
    flat, objective = recipes.linear((6,), latents - extra)
    lab.train(flat, train, steps=steps, objective=objective, batch_size=500, lr=0.02, seed=trial.seed)
    flat = flat.double()
    learned = flat.likelihood
    scale = learned(torch.zeros(1, latents - extra, dtype=lab.F64)).base_dist.scale.flatten()[0].item()
    fitted = Process(learned.network.map.weight.detach(), learned.network.map.bias.detach(), scale)
    gone = Estimate.of(linear.log_evidence(test) - fitted.log_evidence(test))
    trial.claim(
        "two latents, linear: held-out log p(x), in closed form, is within 0.05 nats of the process's",
        abs(gone.value) <= 0.05,
        lost=gone,
        process=Estimate.of(linear.log_evidence(test)),
    )
    turned = found_again(means(flat, test), linear.posterior(test)[0])
    trial.claim(
        "its z is found up to a rotation: every canonical correlation with the process's E[z | x] is above 0.99",
        turned > 0.99,
        smallest_correlation=turned,
    )

    def paint(figure: Figure) -> None:
        places, sizes = figure.subplots(1, 2, width_ratios=(3, 2))
        places.plot(z[:, 0], codes[:, 0], "o", color=BLUE, markersize=2.5, alpha=0.5)
        tidy(places, "E[z | x] of the process", "E[z] of the trained encoder", f"one latent: |correlation| {sign:.4f}")
        errors = [3 * lost.se, 3 * gone.se]
        sizes.bar([0, 1], [lost.value, gone.value], 0.5, yerr=errors, color=VERMILION, capsize=5)
        sizes.axhspan(-0.05, 0.05, color=GREY, alpha=0.3, label="claimed: within 0.05")
        sizes.set_xticks([0, 1], ["coil", "linear"])
        tidy(sizes, "process", "held-out log p(x) lost, nats", "± 3 standard errors", legend="upper left")
        sizes.margins(y=0.3)

    trial.draw(paint, width=10)


def posterior_mean(process: VAE, x: Tensor) -> Tensor:
    """Return E[z1 | x] of the process by quadrature, (N, 1)."""
    z, log_w = trapezoid(6.0, 201) if process.latent_dim == 1 else trapezoid(6.0, 61, 2)
    parts = []
    with torch.no_grad():
        for some in x.split(50):
            weight = (log_joint(process, some, z) + log_w.unsqueeze(1)).softmax(0)
            parts.append(weight.T @ z[:, :1])
    return torch.cat(parts)
