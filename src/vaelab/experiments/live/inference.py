"""Live: the bound and the posterior, where the truth is known (cards 1, 10, 12, 13, 16, 18, 19)."""

from __future__ import annotations

import math

import torch

from ... import networks, posteriors, recipes
from ...evaluation import evidence_rows
from ...evaluation.collapse import active_units
from ...models import VAE
from ...objectives import ELBO
from ...training import Rows
from .. import lab
from ..base import Trial
from ..card_01_elbo import COLUMNS, Look, look
from ..card_10_few_factors import SIGMA, embedded
from ..card_16_collapse import BATCH, EIGENVALUES, SIGMA2, spectral_rows
from ..card_16_collapse import COLUMNS as WIDE
from ..card_16_collapse import LATENTS as SPARE
from ..linear import Process
from .base import Answer, Control, live


@live(1, "Ascent on the ELBO of 24 rows, by one side or both",
      Control("side", "what learns", ("both", "encoder", "decoder"), "both"))  # fmt: skip
def ascent(trial: Trial, side: str) -> Answer:
    """log p(x), ELBO and the gap between them, by separate quadratures, along the ascent."""
    made = [
        recipes.vae((COLUMNS,), 1, hidden=(8,), activation="tanh", likelihood="gaussian:scale=0.8")[0] for _ in "12"
    ]
    truth, model = (one.double() for one in made)
    with torch.no_grad():
        for parameter in truth.likelihood.parameters():
            parameter.copy_(0.8 * torch.randn(parameter.shape, generator=trial.generator("truth")))
        x = truth.generate(24, noise=trial.noise("rows"))
    model.posterior.requires_grad_(side != "decoder")
    model.likelihood.requires_grad_(side != "encoder")
    looks: list[Look] = []

    def seen(step: int) -> None:
        if step % 15 == 0:
            looks.append(look(model, x, step, control=False))

    lab.ascend(model, x, steps=120, noise=trial.noise("ascent"), objective=ELBO(samples=4), lr=0.03, look=seen)
    steps = [one.step for one in looks]
    log_p, gap = ([getattr(one, name).mean().item() for one in looks] for name in ("log_p", "gap"))
    bound = [one.bound.mean().item() for one in looks]
    return Answer(
        f"log p(x) {log_p[0]:.2f} -> {log_p[-1]:.2f}, gap {gap[0]:.2f} -> {gap[-1]:.2f}; "
        f"log p(x) - ELBO - KL is at most {max(one.error for one in looks):.0e} in every row.",
        {"gain of the ELBO": bound[-1] - bound[0], "gain of log p(x)": log_p[-1] - log_p[0],
         "loss of the gap": gap[0] - gap[-1]},
    ).chart("the ascent", "steps", "nats per row", {"log p(x)": (steps, log_p), "ELBO": (steps, bound)})  # fmt: skip


@live(
    10,
    "Data of d factors, and a model with 12 latents",
    Control("factors", "factors d", (1.0, 2.0, 3.0, 4.0, 6.0, 8.0), 3.0),
)
def few_factors(trial: Trial, factors: float) -> Answer:
    """Active units of a linear model on rows of 64 columns."""
    x = embedded(int(factors), trial)[:1500]
    model, _ = recipes.linear((64,), 12, likelihood=f"gaussian:scale={SIGMA}")
    lab.train(model, x, steps=330, batch_size=250, lr=0.05)
    mean = evidence_rows(model, Rows(lab.data_of(x)), samples=1).mean
    variance = mean.var(0).sort(descending=True).values
    found = active_units(mean)
    return Answer(f"{factors:g} factors, {found} active units of 12.", {"active units": found}).chart(
        "what each latent carries", "latent, sorted", "variance of its mean",
        {"latents": (torch.arange(1, 13), variance)}, "bars",
    )  # fmt: skip


@live(12, "The closest Gaussian to a tilted one", Control("rho", "correlation", (0.0, 0.3, 0.6, 0.8, 0.9, 0.97), 0.8),
      Control("family", "family of q", ("diagonal", "full"), "diagonal"))  # fmt: skip
def variational(trial: Trial, rho: float, family: str) -> Answer:
    """KL(q || p) by ascent, beside its exact least value: -log(1 - rho²) / 2 for diagonal q, 0 for a full one."""
    precision = torch.linalg.inv(torch.tensor([[1.0, rho], [rho, 1.0]], dtype=lab.F64))
    numbers = torch.zeros(3, dtype=lab.F64, requires_grad=True)
    optimiser = torch.optim.Adam([numbers], lr=0.05)
    values = []

    def kl() -> torch.Tensor:
        low = numbers[2] if family == "full" else torch.zeros((), dtype=lab.F64)
        scale = torch.stack([torch.stack([numbers[0].exp(), low * 0]), torch.stack([low, numbers[1].exp()])])
        trace = (precision * (scale @ scale.T)).sum()
        return 0.5 * (trace - 2 - torch.logdet(precision)) - numbers[:2].sum()

    for _ in range(150):
        loss = kl()
        values.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    least = 0.0 if family == "full" else 0.5 * abs(math.log(1 - rho**2))
    return Answer(
        f"KL(q || p) ends at {abs(values[-1]):.4f}; the least that a {family} Gaussian can have is {least:.4f}.",
        {"deviation of q": numbers[0].exp().item(), "deviation of p": 1.0},
    ).chart("KL(q || p)", "steps", "nats", {family: (range(150), values), "least": ([0, 149], [least] * 2)})


@live(
    13,
    "One network for all rows, or numbers of its own for each",
    Control("hidden", "encoder's hidden units", (1.0, 2.0, 4.0, 16.0, 64.0), 4.0),
)
def amortised(trial: Trial, hidden: float) -> Answer:
    """The gap of an encoder for rows of a linear process bent by tanh, beside q optimised row by row."""
    process = Process.random(6, 2, trial.generator("process"))
    x = process.rows(400, trial.generator("rows"))
    exact = process.log_evidence(x).mean().item()
    best = lab.ascend(
        process.model(per_row=400), x, steps=80, noise=trial.noise("rows"), objective=ELBO(samples=4), lr=0.2
    )
    decoder = process.model(per_row=1)
    network = networks.MLP(6, 4, (int(hidden),), "tanh")
    model = VAE(
        prior=decoder.prior, posterior=posteriors.Gaussian(_Bent(network), 2), likelihood=decoder.likelihood
    ).double()
    lab.ascend(model, x, steps=150, noise=trial.noise("encoder"), objective=ELBO(samples=4), lr=0.03)
    with torch.no_grad():
        bounds = [m.terms(x, samples=50, noise=trial.noise("judge")).log_w.mean().item() for m in (best, model)]
    return Answer(
        f"log p(x) is {exact:.3f}. Row by row the bound is {bounds[0]:.3f}, by the encoder {bounds[1]:.3f}.",
        {"approximation gap": exact - bounds[0], "amortisation gap": bounds[0] - bounds[1]},
    ).chart("gaps", "1: of the family   2: of the encoder", "nats per row",
            {"gaps": ([1, 2], [exact - bounds[0], bounds[0] - bounds[1]])}, "bars")  # fmt: skip


class _Bent(torch.nn.Module):
    """A network that reads 2 tanh(x)."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Return network(2 tanh x)."""
        out: torch.Tensor = self.network(2 * x.tanh())
        return out


@live(
    16,
    "A linear model of data with eigenvalues 8, 4, 2, 1",
    Control("beta", "beta", (0.5, 1.0, 3.0, 6.0, 12.0, 20.0), 3.0),
)
def collapse(trial: Trial, beta: float) -> Answer:
    """Active units against the eigenvalues above beta sigma²."""
    x = spectral_rows(trial.generator("rows"))
    model, _ = recipes.linear((WIDE,), SPARE, likelihood=f"gaussian:scale={SIGMA2**0.5}")
    lab.train(model, x, steps=250, objective=ELBO(beta=beta), batch_size=BATCH, lr=0.05)
    mean = evidence_rows(model, Rows(lab.data_of(x)), samples=1).mean
    found, said = active_units(mean), sum(value > beta * SIGMA2 for value in EIGENVALUES)
    return Answer(
        f"beta sigma² = {beta * SIGMA2:g}: {said} eigenvalues above it, {found} active units.",
        {"predicted": said, "active units": found},
    ).chart("what each latent carries", "latent, sorted", "variance of its mean",
            {"latents": (range(1, SPARE + 1), mean.var(0).sort(descending=True).values)}, "bars")  # fmt: skip


@live(18, "Two unobserved z, found from N rows", Control("rows", "rows N", (30.0, 100.0, 1000.0, 5000.0), 1000.0),
      Control("latents", "latents of the model", (1.0, 2.0, 3.0), 2.0))  # fmt: skip
def process(trial: Trial, rows: float, latents: float) -> Answer:
    """Held-out log p(x) lost by a linear model, in closed form."""
    truth = Process.random(6, 2, trial.generator("process"))
    train, test = truth.rows(int(rows), trial.generator("rows")), truth.rows(2000, trial.generator("held-out"))
    # the optimum of a linear VAE in closed form: probabilistic PCA (Tipping & Bishop 1999, eq. 7 and 8)
    values, vectors = torch.linalg.eigh(torch.cov(train.T, correction=0))
    values, vectors = values.flip(0), vectors.flip(1)
    variance = values[int(latents) :].mean()
    lengths = (values[: int(latents)] - variance).clamp(min=0).sqrt()
    scale = variance.sqrt().item()
    fitted = Process(vectors[:, : int(latents)] * lengths, train.mean(0), scale)
    lost = (truth.log_evidence(test) - fitted.log_evidence(test)).mean().item()
    return Answer(
        f"{rows:g} rows, {latents:g} latents: {lost:.3f} nats of log p(x) lost on new rows; z is found up to a turn.",
        {"lost, nats per row": lost, "deviation of the noise, true 0.7": scale},
    ).chart("W, the first column of the process and of the model", "entry", "weight", {
        "process": (range(1, 7), truth.w[:, 0]), "model": (range(1, 7), fitted.w[:, 0]),
    })  # fmt: skip


@live(19, "Draws and means at the same z", Control("scale", "deviation of p(x | z)", (0.02, 0.1, 0.3, 0.6), 0.3),
      Control("shown", "shown", ("draws", "means"), "draws"))  # fmt: skip
def two_steps(trial: Trial, scale: float, shown: str) -> Answer:
    """Two columns of 600 rows, as draws or as means, and their variances."""
    model, _ = recipes.vae((4,), 2, hidden=(10,), activation="tanh", likelihood=f"gaussian:scale={scale}")
    with torch.no_grad():
        for parameter in model.likelihood.parameters():
            parameter.mul_(3)
        model = model.double()
        draws, means = (model.generate(20_000, noise=trial.noise("draws"), means=mean) for mean in (False, True))
    apart = (draws.var(0) - means.var(0)).mean().item()
    rows = draws if shown == "draws" else means
    return Answer(
        f"Var of draws - Var of means = {apart:.4f}; the likelihood's variance is {scale**2:.4f}.",
        {"variance of draws": draws.var(0).mean().item(), "variance of means": means.var(0).mean().item()},
    ).chart(shown, "x1", "x2", {shown: (rows[:600, 0], rows[:600, 1])}, "dots")
