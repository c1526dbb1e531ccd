"""Published models by name: each is a choice of parts, and returns (model, objective)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..data import Dataset
from ..errors import UsageError, suggest
from ..models import VAE, Model
from ..networks import MLP, Linear, Masked
from ..objectives import Objective
from ..parts import Spec, parse

Shape = Sequence[int]
DEFAULTS: dict[str, Any] = {
    "hidden": (500,),
    "network": "mlp",
    "activation": None,  # the network's own
    "prior": "gaussian",
    "posterior": "gaussian",
    "likelihood": "bernoulli",
    "objective": "elbo",
    "refine": None,
    "missingness": None,
    "masked": False,  # whether the encoder reads which entries were observed
    "condition": 0,  # how many numbers the model is given beside x
}
ROLES = ("prior", "posterior", "likelihood", "objective", "network")


@dataclass(frozen=True)
class Recipe:
    """A published name, its paper, and the parts that differ from the defaults."""

    name: str
    paper: str
    parts: dict[str, Any]
    build: Callable[..., tuple[Model, Objective]]
    layers: int | None = 1  # stochastic layers; None: as many as latent_dim has numbers
    real: bool = False  # treats every kept column as a real number
    pace: Callable[[Dataset], dict[str, Any]] | None = None
    gaps: bool = False  # its use is to fill gaps of the rows that it is trained on

    @property
    def validation(self) -> float:
        """The share of rows that is held out unless another is asked for.

        None where gaps are to be filled: what a row's own cells say of its gaps is learned by training on it, and stops
        being worse long after the bound on other rows.
        """
        return 0.0 if self.gaps else 0.1

    def usual_latent_dim(self, columns: int, mixed: bool) -> int:
        """Return the latent dimensions that are taken unless others are asked for."""
        if self.gaps:
            return min(10, max(2, columns))
        return min(20, max(2, columns if mixed else columns // 4))  # a column of categories is many numbers

    def settings(self, train: Dataset) -> dict[str, Any]:
        """Return the settings of training that suit this recipe on these rows."""
        return self.pace(train) if self.pace else {}

    def __call__(self, shape: Shape, latent_dim: int | Sequence[int], **parts: Any) -> tuple[Any, Objective]:
        """Return (model, objective) for x of shape `shape`; keyword arguments replace the recipe's parts.

        A model of several stochastic layers takes a latent_dim for each, from x upwards.
        """
        if self.layers == 1 and not isinstance(latent_dim, int):
            many = ", ".join(name for name, other in RECIPES.items() if other.layers != 1)
            raise UsageError(
                f"recipe {self.name} has one stochastic layer, got latent_dim {tuple(latent_dim)}. Several: {many}."
            )
        unknown = [name for name in parts if name not in {**DEFAULTS, **self.parts}]
        if unknown:
            raise UsageError(f"recipe {self.name} has no part {unknown[0]!r}.{suggest(unknown[0], tuple(DEFAULTS))}")
        return self.build(shape, latent_dim, **self._taken({**DEFAULTS, **self.parts, **parts}))

    def _taken(self, parts: dict[str, Any]) -> dict[str, Any]:
        """Return the parts that this recipe has a place for; raise UsageError where another was asked for."""
        named = inspect.signature(self.build).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in named.values()):
            return parts
        for name, value in parts.items():
            if name not in named and value != DEFAULTS.get(name):
                raise UsageError(f"recipe {self.name} has no {name} of another kind, got {value}. Leave --{name} out.")
        return {name: value for name, value in parts.items() if name in named}


RECIPES: dict[str, Recipe] = {}


def recipe(
    paper: str,
    *,
    layers: int | None = 1,
    real: bool = False,
    pace: Callable[[Dataset], dict[str, Any]] | None = None,
    gaps: bool = False,
    **parts: Any,
) -> Callable[[Callable[..., tuple[Any, Objective]]], Recipe]:
    """Register a recipe under the name of its function."""

    def register(build: Callable[..., tuple[Any, Objective]]) -> Recipe:
        name = build.__name__.replace("_", "-")
        made = Recipe(name, paper, parts, build, layers, real, pace, gaps)
        object.__setattr__(made, "__doc__", build.__doc__)
        RECIPES[name] = made
        return made

    return register


def find(name: str) -> Recipe:
    """Return the recipe of this name; UsageError with the nearest one if there is none."""
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}.{suggest(name, tuple(RECIPES))}")
    return RECIPES[name]


def dense(inputs: Any, outputs: Any, widths: Sequence[int], activation: str | None, condition: int = 0) -> nn.Module:
    """Return a multilayer perceptron with these widths; an affine map if there are none."""
    if not widths:
        return Linear(inputs, outputs, condition)
    return MLP(inputs, outputs, tuple(widths), activation or "relu", condition)


def network_maker(network: str, activation: str | None, px: Spec) -> Callable[..., nn.Module]:
    """Return make(inputs, outputs, widths, condition=0): how encoders and decoders are made for the likelihood `px`."""
    spec = parse("network", network)
    own: dict[str, Any] = {} if activation is None else {"activation": activation}
    if px.part.levels == "categories":
        own["trailing"] = 1  # categories are the last dimension, behind those of an image

    def make(inputs: Any, outputs: Any, widths: Sequence[int], condition: int = 0) -> nn.Module:
        if spec.part is MLP and not widths:
            return Linear(inputs, outputs, condition)
        module: nn.Module = spec.make(inputs=inputs, outputs=outputs, hidden=tuple(widths), condition=condition, **own)
        return module

    return make


def assemble(
    shape: Shape,
    latent_dim: int,
    *,
    hidden: Sequence[int],
    network: str,
    activation: str | None,
    prior: str,
    posterior: str,
    likelihood: str,
    objective: str,
    refine: str | None = None,
    missingness: str | None = None,
    masked: bool = False,
    condition: int = 0,
) -> tuple[VAE, Objective]:
    """Join parts written as "name:argument=value,...": `hidden` are the encoder's widths, reversed the decoder's.

    `network` makes both; an MLP without hidden layers is a Linear. An encoder that is `masked` reads beside x which
    entries were observed; that of mixed columns always does.
    """
    shape = tuple(shape)
    p, q, px = parse("prior", prior), parse("posterior", posterior), parse("likelihood", likelihood)
    goal = parse("objective", objective)

    make = network_maker(network, activation, px)
    seen, outputs = px.part.seen(shape, **px.arguments), q.part.outputs(latent_dim, **q.arguments)
    beside = masked and not px.part.reads_missing
    encoder = make((2 * seen[0], *seen[1:]) if beside else seen, outputs, tuple(hidden), condition)
    decoder = make(latent_dim, px.part.outputs(shape, **px.arguments), tuple(reversed(tuple(hidden))), condition)
    read = px.part.reader(encoder, **px.arguments)
    made = q.make(network=Masked(read, shape) if beside else read, latent_dim=latent_dim)
    model = VAE(
        prior=p.make(latent_dim=latent_dim, shape=shape, posterior=made, condition=condition),
        posterior=made,
        likelihood=px.make(network=decoder, shape=shape),
        refine=parse("refine", refine).make(latent_dim=latent_dim) if refine else None,
        missingness=parse("missingness", missingness).make(shape=shape, columns=px.part.pathwise(**px.arguments))
        if missingness
        else None,
    )
    return model, goal.make(latent_dim=latent_dim, shape=shape)


@recipe("Kingma & Welling 2013, Auto-Encoding Variational Bayes (arXiv 1312.6114)")
def vae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E_q[log p(x | z)] - KL(q(z | x) || p(z)) with z = mu(x) + sigma(x) noise (eq. 3, 9 and 10).

    p(z) -> priors.Gaussian; q(z | x) -> posteriors.Gaussian; p(x | z) -> by the data; bound -> objectives.ELBO.

    >>> model, objective = recipes.vae((28, 28), 20, hidden=(500,))
    >>> type(model.likelihood).__name__, type(objective).__name__
    ('Bernoulli', 'ELBO')
    """
    return assemble(shape, latent_dim, **parts)


@recipe("Higgins et al. 2017, beta-VAE (ICLR)", objective="elbo:beta=4")
def beta_vae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E_q[log p(x | z)] - beta KL(q(z | x) || p(z)), beta = 4 (eq. 4).

    beta -> objectives.ELBO(beta=...); reported and compared is the bound at beta = 1.

    >>> recipes.beta_vae((5,), 2)[1].beta
    4
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Burda, Grosse & Salakhutdinov 2016, Importance Weighted Autoencoders (arXiv 1509.00519)",
    objective="iwae:samples=5",
)
def iwae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E[log (1/K) sum_k p(x, z_k) / q(z_k | x)], K = 5 (eq. 8).

    K -> objectives.IWAE(samples=...); w_k -> exp(Terms.log_w).

    >>> recipes.iwae((5,), 2, objective="iwae:samples=50")[1].samples
    50
    """
    return assemble(shape, latent_dim, **parts)


@recipe("Hinton & Salakhutdinov 2006, Reducing the Dimensionality of Data with Neural Networks (Science 313)",
        posterior="point", objective="reconstruction")  # fmt: skip
def autoencoder(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise log p(x | z) at z = network(x): no noise, no prior in the objective, no bound on log p(x).

    code -> posteriors.Point; loss -> objectives.Reconstruction.

    >>> type(recipes.autoencoder((5,), 2)[0].posterior).__name__
    'Point'
    """
    return assemble(shape, latent_dim, **parts)


def linear_pace(train: Dataset) -> dict[str, Any]:
    """Nearly full batches, and steps in proportion to the deviation of the data, as the weights are.

    Without the noise of small batches Adam comes within 1e-3 nats of the exact optimum.
    """
    rows = min(len(train), max(200, 2**17 // train.schema.dims))
    epochs = max(20, 6000 // -(-len(train) // rows))
    x = train.schema.encode(train.x[:10_000])
    return {
        "batch_size": rows,
        "epochs": epochs,
        "lr": 0.03 * x.std(0, correction=0).square().mean().sqrt().item(),
    }


@recipe(
    "Lucas, Tucker, Grosse & Norouzi 2019, Don't Blame the ELBO! (NeurIPS); Tipping & Bishop 1999",
    real=True,
    pace=linear_pace,
    hidden=(),
    posterior="gaussian:scale=constant",
    likelihood="gaussian:scale=shared",
    objective="elbo:samples=4",
)
def linear(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """p(x | z) = N(W z + m, sigma² I), q(z | x) = N(V x + c, D): its optimum is probabilistic PCA, and exact.

    W, m -> likelihoods.Gaussian.network; sigma -> .log_scale; V, c -> posteriors.Gaussian.network; D -> .log_scale.
    Every kept column is a real number, for ever; images are divided by the top of their grid.

    >>> sum(p.numel() for p in recipes.linear((5,), 2)[0].parameters())  # W, m, sigma, V, c, D
    30
    """
    return assemble(shape, latent_dim, **parts)
