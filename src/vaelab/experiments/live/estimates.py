"""Live: what draws say of losses and gradients (cards 2, 3, 4, 5, 14, 17)."""

from __future__ import annotations

import math
from typing import Any

import torch

from ... import recipes
from ...noise import Noise
from ...objectives import ELBO, Objective, Score
from ...training import History, Rows, validation_bound
from .. import lab
from ..base import Trial
from ..card_02_reconstruction import COLUMNS, LATENTS, estimates, exactly
from ..card_04_gradients import estimates as gradients
from ..linear import Process
from ..scores import Plain
from .base import Answer, Control, live

DRAWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


@live(2, "The loss of p(x | z), estimated again and again", Control("draws", "draws L", DRAWS, 4.0))
def reconstruction(trial: Trial, draws: float) -> Answer:
    """Estimates of the loss around its value by quadrature."""
    model, _ = recipes.vae((COLUMNS,), LATENTS, hidden=(6,), activation="tanh", likelihood="gaussian:scale=0.5")
    model = model.double()
    x = torch.randn(2, COLUMNS, generator=trial.generator("x"), dtype=lab.F64)
    exact, _ = exactly(model, x)
    values, slopes = estimates(model, x, int(draws), 150, Noise(trial.generator("noise")))
    spread = lab.variance(slopes).value
    error = values.std().item() / math.sqrt(len(values))
    answer = Answer(
        f"150 estimates with L = {draws:g}: their mean is {values.mean():.3f} ± {error:.3f}, the loss is {exact:.3f}.",
        {"exact loss": exact, "variance of the gradient": spread, "times L": spread * draws},
    )
    counts, edges = torch.histogram(values.cpu(), bins=20)
    middles = (edges[1:] + edges[:-1]) / 2
    return answer.chart("150 estimates", "estimated loss", "how many", {"estimates": (middles, counts)}, "bars")


@live(3, "The bound of a batch: two sources of noise", Control("rows", "rows M", (1.0, 10.0, 100.0), 100.0),
      Control("draws", "draws L", (1.0, 10.0), 1.0))  # fmt: skip
def minibatches(trial: Trial, rows: float, draws: float) -> Answer:
    """The deviation of a batch's mean, measured, beside what the two variances say."""
    train, _ = lab.digits(0, values="binary")
    with torch.no_grad():
        model, _ = recipes.vae((1, 8, 8), 5, hidden=(32,))
        each = model.terms(Rows(train).data[:400], samples=60, noise=trial.noise("draws")).log_w.double()
    between, within = each.mean(0).var().item(), each.var(0).mean().item()
    predicted = math.sqrt((between + within / draws) / rows)
    generator = trial.generator("batches")
    picked = torch.randint(400, (2000, int(rows)), generator=generator)
    drawn = torch.randint(60, (int(draws), 2000, int(rows)), generator=generator)
    means = each[drawn, picked].mean((0, 2))
    shares = {"rows": between / rows, "draws": within / (draws * rows)}
    counts, edges = torch.histogram(means, bins=24)
    return Answer(
        f"A batch of {rows:g} rows with {draws:g} draws is off by {means.std():.2f} nats a row; said: {predicted:.2f}.",
        {"variance by the rows": shares["rows"], "variance by the draws": shares["draws"],
         "passes through the model": rows * draws},
    ).chart("2,000 batches", "bound of the batch, nats per row", "how many",
            {"batches": ((edges[1:] + edges[:-1]) / 2, counts)}, "bars")  # fmt: skip


@live(
    4, "The gradient in phi, by two estimators", Control("latents", "latents", (1.0, 2.0, 5.0, 10.0, 30.0, 100.0), 5.0)
)
def which_gradient(trial: Trial, latents: float) -> Answer:
    """Variances of the gradient in q's numbers: reparameterised, score, score with a baseline."""
    process = Process.random(int(latents) + 8, int(latents), trial.generator("process"))
    x = process.rows(1, trial.generator("x"))
    model, many = process.model(per_row=300), x.expand(300, -1)
    ways: dict[str, Objective] = {
        "reparameterised": ELBO(samples=4), "score, baseline": Score(4), "score": Plain("none", 4),
    }  # fmt: skip
    spread = {name: lab.variance(gradients(model, way, many, trial, name)).value for name, way in ways.items()}
    least = spread["reparameterised"]
    return Answer(
        f"With {latents:g} latents the score function has {spread['score'] / least:,.0f} times the variance, with a "
        f"baseline {spread['score, baseline'] / least:,.1f} times.",
        {f"variance, {name}": value for name, value in spread.items()},
    ).chart("log10 of the variance", "1: reparameterised   2: score, baseline   3: score", "log10",
            {"estimators": ([1, 2, 3], [math.log10(v) for v in spread.values()])}, "bars")  # fmt: skip


@live(5, "d/dmu E[z²], z = mu + sigma eps", Control("mu", "mu", (-2.0, -1.0, 0.0, 1.0, 2.0), 1.0),
      Control("draws", "draws", (10.0, 100.0, 1000.0), 100.0))  # fmt: skip
def trick(trial: Trial, mu: float, draws: float) -> Answer:
    """500 estimates of one slope through the draw, and by the score."""
    noise = torch.randn(500, int(draws), generator=trial.generator("noise"), dtype=lab.F64)
    z = mu + noise  # sigma = 1
    through, score = (2 * z).mean(1), (z.square() * noise).mean(1)
    ends = (min(through.min(), score.min()).item(), max(through.max(), score.max()).item())
    series = {}
    for name, values in {"through the draw": through, "score": score}.items():
        counts, edges = torch.histogram(values, bins=30, range=ends)
        series[name] = ((edges[1:] + edges[:-1]) / 2, counts)
    return Answer(
        f"The slope is 2 mu = {2 * mu:g}. Through the draw: {through.mean():.3f} ± {through.std():.3f} a time; by the "
        f"score: {score.mean():.3f} ± {score.std():.3f}.",
        {"ratio of the variances": (score.var() / through.var()).item()},
    ).chart("500 estimates of each", "estimate", "how many", series)


@live(14, "KL of N(mu, sigma²) to N(0, 1), closed and sampled", Control("mu", "mu", (-2.0, -1.0, 0.0, 1.0, 2.0), 1.0),
      Control("sigma", "sigma", (0.1, 0.25, 0.5, 1.0, 1.5, 2.0), 0.5))  # fmt: skip
def closed_form(trial: Trial, mu: float, sigma: float) -> Answer:
    """The closed form, a running mean of draws, and the classic wrong reading of the log."""

    def kl(s: float) -> float:
        return 0.5 * (mu**2 + s**2 - 2 * math.log(s) - 1)

    z = mu + sigma * torch.randn(2000, generator=trial.generator("noise"), dtype=lab.F64)
    each = -((z - mu) / sigma).square() / 2 - math.log(sigma) + z.square() / 2
    at = torch.arange(1, 2001)
    running = each.cumsum(0) / at
    shown = slice(4, None, 20)
    wrong = kl(math.sqrt(sigma))  # log sigma read as log sigma²
    return Answer(
        f"Closed: {kl(sigma):.4f} nats. After 2,000 draws: {running[-1]:.4f} ± {each.std() / 2000**0.5:.4f}.",
        {"closed form": kl(sigma), "log sigma read as log sigma²": wrong, "deviation of one draw": each.std().item()},
    ).chart("the sampled form settles", "draws", "nats", {
        "sampled": (at[shown], running[shown]), "closed": ([5, 2000], [kl(sigma)] * 2),
    })  # fmt: skip


WAYS: dict[str, Objective] = {
    "reparameterised": ELBO(samples=4),
    "score, baseline": Score(4),
    "score": Plain("none", 4),
}


@live(
    17, "The same model, steps and draws: another estimator", Control("way", "gradient", tuple(WAYS), "reparameterised")
)
def purpose(trial: Trial, way: str) -> Answer:
    """Held-out bound along a short training."""
    train, held_out = lab.digits(0, values="binary")
    rows, steps, values = Rows(held_out), [], []
    model, _ = recipes.vae((1, 8, 8), 10, hidden=(64,))

    def look(record: dict[str, Any], history: History) -> None:
        steps.append(record["step"])
        values.append(validation_bound(model, rows, draws=360)[0])

    lab.train(model, train, steps=120, objective=WAYS[way], lr=2e-3, report=look)
    return Answer(
        f"After {steps[-1]} steps: {values[-1]:.2f} nats a held-out row.", {"held-out bound": values[-1]}
    ).chart("held-out bound", "steps", "nats per row", {way: (steps, values)})
