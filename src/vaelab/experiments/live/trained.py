"""Live: models of digits, trained while somebody waits (cards 6, 7, 8, 9, 11, 15)."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from ... import recipes
from ...data import Dataset
from ...evaluation import evidence_rows
from ...evaluation.collapse import mutual_information
from ...models import VAE
from ...objectives import ELBO
from ...training import Rows
from .. import lab
from ..base import Trial
from ..nearest import coverage, distances
from ..pixels import SCALE, codes, decodes, squared_error
from .base import Answer, Control, live

BETAS = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0)


@cache
def digits() -> tuple[Dataset, Tensor, Tensor]:
    """Return 1,200 digits to learn from, as a data set and as rows, and 300 others."""
    train, held_out = lab.digits(0, held_out=597)
    return train, Rows(train).data, Rows(held_out).data[:300]


def trained(
    *, beta: float = 1.0, scale: float = SCALE, latents: int = 6, steps: int = 220, autoencoder: bool = False
) -> VAE:
    """Return a small model of digits, or a plain autoencoder."""
    recipe = recipes.autoencoder if autoencoder else recipes.vae
    model, objective = recipe((64,), latents, hidden=(64,), likelihood=f"gaussian:scale={scale}")
    made: VAE = lab.train(
        model, digits()[0], steps=steps, objective=objective if autoencoder else ELBO(beta=beta), lr=5e-3
    )
    return made


def terms(model: VAE, x: Tensor) -> tuple[float, float]:
    """Return squared error and KL to the prior of held-out rows, means per row."""
    found = evidence_rows(model, Rows(lab.data_of(x)), samples=8)
    assert found.kl is not None
    return squared_error(found.reconstruction).mean().item(), found.kl.sum(1).mean().item()


def drawn(model: VAE, trial: Trial, n: int, temperature: float = 1.0) -> Tensor:
    """Return decoder means at draws of the prior."""
    with torch.no_grad():
        return model.generate(n, noise=trial.noise("prior"), means=True, temperature=temperature)


@live(6, "Take one principle away", Control("without", "without", ("nothing", "encoder", "sampling", "KL"), "nothing"))
def principles(trial: Trial, without: str) -> Answer:
    """What comes back, and what draws of the prior give, when one of the four is missing."""
    _, _, x = digits()
    model = trained(beta=0.001 if without == "KL" else 1.0, autoencoder=without == "sampling")
    if without == "encoder":  # q is the prior: the best decode is the mean of the rows
        back = digits()[1].mean(0).expand(8, -1)
        made, error = back, (x - back[0]).square().sum(1).mean().item()
    else:
        back, made = decodes(model, codes(model, x))[:8], drawn(model, trial, 300)
        error = (decodes(model, codes(model, x)) - x).square().sum(1).mean().item()
    reach = 0.0 if without == "encoder" else coverage(x, made)
    said = "All four" if without == "nothing" else f"Without {without}"
    return Answer(
        f"{said}: squared error {error:.2f} a row; draws of the prior reach {reach:.0%} of the rows.",
        {"squared error": error, "coverage by draws": reach},
    ).pictures("digits", {"rows": x[:8], "come back": back[:8], "draws": made[:8]})


@live(7, "A weight on the KL: retrained for each", Control("beta", "beta", BETAS, 1.0))
def weighted(trial: Trial, beta: float) -> Answer:
    """Rate and distortion of a model trained with this beta."""
    _, _, x = digits()
    model = trained(beta=beta)
    error, rate = terms(model, x)
    back = decodes(model, codes(model, x[:8]))
    return Answer(
        f"beta = {beta:g}: rate {rate:.2f} nats, squared error {error:.2f}.", {"rate": rate, "squared error": error}
    ).chart("rate and distortion, all that was tried", "rate, nats", "squared error", {
        "held-out rows": ([rate], [error]),
    }, "dots").pictures("held-out digits", {"rows": x[:8], "come back": back})  # fmt: skip


@live(8, "Draws of N(0, I), decoded", Control("kind", "model", ("autoencoder", "VAE"), "autoencoder"))
def autoencoder(trial: Trial, kind: str) -> Answer:
    """How far draws reach into real rows, and where the codes lie."""
    _, train, x = digits()
    model = trained(autoencoder=kind == "autoencoder")
    made, places = drawn(model, trial, 300), codes(model, train)
    error = (decodes(model, codes(model, x)) - x).square().sum(1).mean().item()
    reach = coverage(x, made)
    return Answer(
        f"{kind}: squared error {error:.2f}, deviation of codes {places.std():.2f}; draws reach {reach:.0%} of rows.",
        {"squared error": error, "deviation of codes": places.std().item(), "coverage by draws": reach},
    ).pictures("decodes of draws", {"draws": made[:10]}).chart("codes", "z0", "z1", {
        "codes of rows": (places[:400, 0], places[:400, 1]),
    }, "dots")  # fmt: skip


@live(9, "What the KL is made of", Control("beta", "beta in training", (0.05, 0.2, 1.0, 3.0), 1.0))
def generation(trial: Trial, beta: float) -> Answer:
    """mean KL(q(z | x) || p(z)) = I(x; z) + KL(q(z) || p(z))."""
    train, _, x = digits()
    model = trained(beta=beta)
    found = mutual_information(model, Rows(train))
    assert found is not None
    information, marginal, _ = found
    made = drawn(model, trial, 300)
    reach, off = coverage(x, made), 0.0 if marginal is None else marginal
    return Answer(
        f"beta = {beta:g}: codes say {information:.2f} nats of x; q(z) is {off:.2f} nats from p(z); "
        f"draws reach {reach:.0%} of the rows.",
        {"I(x; z)": information, "KL(q(z) || p(z))": off, "coverage by draws": reach},
    ).chart("the KL in two parts", "1: I(x; z)   2: KL(q(z) || p(z))", "nats", {
        "parts": ([1, 2], [information, off]),
    }, "bars").pictures("decodes of draws", {"draws": made[:10]})  # fmt: skip


@live(
    11,
    "Who draws?",
    Control("who", "draws come from", ("the VAE", "copies of training rows", "held-out rows"), "the VAE"),
)
def new_points(trial: Trial, who: str) -> Answer:
    """Like the data, and no copies: coverage, and distances to the nearest training row."""
    _, train, x = digits()
    others = Rows(lab.digits(0, held_out=597)[1]).data[297:]
    if who == "the VAE":
        made = drawn(trained(), trial, 300)
    else:
        made = train[torch.randperm(len(train), generator=trial.generator("rows"))[:300]] if "copies" in who else others
    near, usual = distances(made, train), distances(x, train)
    reach = coverage(x, made)
    return Answer(
        f"{who}: reach {reach:.0%} of held-out rows; median distance to a training row {near.median():.2f}, of "
        f"held-out rows {usual.median():.2f}.",
        {"coverage": reach, "copies": (near < 1e-6).double().mean().item()},
    ).pictures("draws", {"draws": made[:10]})


@live(15, "The deviation s of p(x | z), retrained for each", Control("scale", "s", (0.02, 0.05, 0.15, 0.4, 1.0), 0.15))
def weight_on_reconstruction(trial: Trial, scale: float) -> Answer:
    """Rows come back better, codes leave the prior, and what lies between two digits."""
    _, _, x = digits()
    model = trained(scale=scale, steps=250)
    places = codes(model, x)
    error = (decodes(model, places) - x).square().sum(1).mean().item()
    way = torch.linspace(0, 1, 9).unsqueeze(1)
    between = decodes(model, (1 - way) * places[0] + way * places[1])
    return Answer(
        f"s = {scale:g}: squared error {error:.2f}; mean |z|² of codes {places.square().sum(1).mean():.2f}, "
        f"of the prior {places.shape[1]}.",
        {"squared error": error, "mean |z|² of codes": places.square().sum(1).mean().item()},
    ).pictures("from one digit to another", {"between": between, "draws": drawn(model, trial, 9)})
