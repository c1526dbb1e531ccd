"""Published models by name: each is a choice of parts, and returns (model, objective)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..data import Dataset
from ..errors import UsageError, suggest
from ..models import VAE
from ..networks import MLP, Linear, OneHot
from ..objectives import Objective
from ..parts import parse

Shape = Sequence[int]
DEFAULTS: dict[str, Any] = {
    "hidden": (500,),
    "activation": "relu",
    "prior": "gaussian",
    "posterior": "gaussian",
    "likelihood": "bernoulli",
    "objective": "elbo",
    "refine": None,
}
ROLES = ("prior", "posterior", "likelihood", "objective")


@dataclass(frozen=True)
class Recipe:
    """A published name, its paper, and the parts that differ from the defaults."""

    name: str
    paper: str
    parts: dict[str, Any]
    build: Callable[..., tuple[VAE, Objective]]
    real: bool = False  # treats every kept column as a real number
    pace: Callable[[Dataset], dict[str, Any]] | None = None

    def settings(self, train: Dataset) -> dict[str, Any]:
        """Return the settings of training that suit this recipe on these rows."""
        return self.pace(train) if self.pace else {}

    def __call__(self, shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
        """Return (model, objective) for x of shape `shape`; keyword arguments replace the recipe's parts."""
        unknown = [name for name in parts if name not in DEFAULTS]
        if unknown:
            raise UsageError(f"recipe {self.name} has no part {unknown[0]!r}.{suggest(unknown[0], tuple(DEFAULTS))}")
        return self.build(shape, latent_dim, **{**DEFAULTS, **self.parts, **parts})


RECIPES: dict[str, Recipe] = {}


def recipe(
    paper: str, *, real: bool = False, pace: Callable[[Dataset], dict[str, Any]] | None = None, **parts: Any
) -> Callable[[Callable[..., tuple[VAE, Objective]]], Recipe]:
    """Register a recipe under the name of its function."""

    def register(build: Callable[..., tuple[VAE, Objective]]) -> Recipe:
        name = build.__name__.replace("_", "-")
        made = Recipe(name, paper, parts, build, real, pace)
        object.__setattr__(made, "__doc__", build.__doc__)
        RECIPES[name] = made
        return made

    return register


def find(name: str) -> Recipe:
    """Return the recipe of this name; UsageError with the nearest one if there is none."""
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}.{suggest(name, tuple(RECIPES))}")
    return RECIPES[name]


def assemble(
    shape: Shape,
    latent_dim: int,
    *,
    hidden: Sequence[int],
    activation: str,
    prior: str,
    posterior: str,
    likelihood: str,
    objective: str,
    refine: str | None = None,
) -> tuple[VAE, Objective]:
    """Join parts written as "name:argument=value,...": `hidden` are the encoder's widths, reversed the decoder's."""
    shape = tuple(shape)
    p, q, px = parse("prior", prior), parse("posterior", posterior), parse("likelihood", likelihood)
    goal = parse("objective", objective)

    def network(inputs: Any, outputs: Any, widths: Sequence[int]) -> nn.Module:
        return MLP(inputs, outputs, widths, activation) if widths else Linear(inputs, outputs)

    categories = px.arguments.get("categories")
    seen = (*shape, categories) if categories else shape
    encoder = network(seen, q.part.outputs(latent_dim, **q.arguments), tuple(hidden))
    decoder = network(latent_dim, px.part.outputs(shape, **px.arguments), tuple(reversed(tuple(hidden))))
    encoder = OneHot(encoder, categories) if categories else encoder
    made = q.make(network=encoder, latent_dim=latent_dim)
    model = VAE(
        prior=p.make(latent_dim=latent_dim, shape=shape, posterior=made),
        posterior=made,
        likelihood=px.make(network=decoder, shape=shape),
        refine=parse("refine", refine).make(latent_dim=latent_dim) if refine else None,
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


@recipe("Rezende & Mohamed 2015, Variational Inference with Normalizing Flows (ICML)", posterior="flow:kind=planar")
def vae_linnf(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E[log p(x, z_T) - log q_0(z_0) + sum_t log |1 + u_t . psi_t(z)|], z_t = z + u_t tanh(w_t . z + b_t).

    Eq. 10-12 and 15; u, w, b of every x by the encoder. f_t -> distributions.flow.Planar; q -> posteriors.Flow.

    >>> recipes.vae_linnf((5,), 2)[0].posterior.kind
    'planar'
    """
    return assemble(shape, latent_dim, **parts)


@recipe("Kingma et al. 2016, Improved Variational Inference with Inverse Autoregressive Flow (NIPS)",
        posterior="flow:kind=iaf")  # fmt: skip
def vae_iaf(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E[log p(x, z_T) - log q(z_T | x)], z_t = s_t z + (1 - s_t) m_t, [m_t, s_t] = network(z_<i, h(x)).

    Eq. 9-14, Algorithm 1; the weights of the masked networks are shared by all x, which they know through h.
    m, s -> networks.MADE; f_t -> distributions.flow.Autoregressive; q -> posteriors.Flow.

    >>> len(recipes.vae_iaf((5,), 2)[0].posterior.conditioners)
    4
    """
    return assemble(shape, latent_dim, **parts)


@recipe("van den Oord, Vinyals & Kavukcuoglu 2017, Neural Discrete Representation Learning (NIPS)",
        prior="codes", posterior="nearest", objective="quantised")  # fmt: skip
def vq_vae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise log p(x | e_k) + log p(k) - commitment |z_e - sg[e_k]|² with k = argmin_j |z_e(x) - e_j| (eq. 1-3).

    What is reported is log p(x | e_k) + log p(k), a bound on log p(x) for the uniform p(k). e -> posteriors.Nearest,
    running means (A.1); p(k) -> priors.Codes; loss -> objectives.Quantised.

    >>> recipes.vq_vae((5,), 8)[0].posterior.groups  # codes of four dimensions
    2
    """
    return assemble(shape, latent_dim, **parts)


@recipe("Caterini, Doucet & Sejdinovic 2018, Hamiltonian Variational Auto-Encoder (NeurIPS)", refine="hamiltonian")
def hamiltonian(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E[log p(x, z_K) + log N(r_K) - log q(z_0 | x) - log N(g)], (z_K, r_K) by K leapfrog steps from z_0 ~ q.

    Algorithm 1, with quadratic tempering (eq. 8). Steps, beta_0 -> refinements.Hamiltonian.

    >>> recipes.hamiltonian((5,), 2)[0].refine.leapfrog
    3
    """
    return assemble(shape, latent_dim, **parts)


@recipe("Kim, Wiseman, Miller, Sontag & Rush 2018, Semi-Amortized Variational Autoencoders (ICML)",
        refine="gradient-steps")  # fmt: skip
def semi_amortised(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise the ELBO at q_K, where q_0 is the encoder's and q_(k+1) = q_k + rate grad ELBO(q_k) for every row.

    Algorithm 1; the gradient goes through all steps. Steps -> refinements.GradientSteps; q_0 -> posteriors.Gaussian.

    >>> recipes.semi_amortised((5,), 2)[0].refine.steps
    5
    """
    return assemble(shape, latent_dim, **parts)


@recipe("Davidson, Falorsi, De Cao, Kipf & Tomczak 2018, Hyperspherical Variational Auto-Encoders (UAI)",
        prior="uniform-sphere", posterior="von-mises-fisher")  # fmt: skip
def svae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E_q[log p(x | z)] - KL(vMF(mu(x), k(x)) || uniform) on the unit sphere of R^latent_dim (eq. 5-9).

    p(z) -> priors.UniformSphere; q(z | x) -> posteriors.VonMisesFisher; KL -> distributions.von_mises_fisher.

    >>> recipes.svae((5,), 3)[0].generate(7).shape
    torch.Size([7, 5])
    """
    return assemble(shape, latent_dim, **parts)


@recipe("Maddison, Mnih & Teh 2017, The Concrete Distribution (ICLR); Jang, Gu & Poole 2017 (ICLR)",
        prior="concrete", posterior="concrete")  # fmt: skip
def gumbel(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E_q[log p(x | z) + log p(z) - log q(z | x)], z = softmax((logits(x) + Gumbel) / t).

    Maddison et al., eq. 10 and 21: a bound for the model whose categories are relaxed.
    q(z | x) -> posteriors.Concrete; p(z) -> priors.Concrete.

    >>> recipes.gumbel((5,), 6, posterior="concrete:categories=3")[0].posterior.shape
    (2, 3)
    """
    return assemble(shape, latent_dim, **parts)


@recipe("Tomczak & Welling 2018, VAE with a VampPrior (AISTATS, arXiv 1705.07120)", prior="vamp:components=500")
def vamp(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E_q[log p(x | z) + log 1/K sum_k q(z | u_k) - log q(z | x)] over the pseudo-inputs u as well (eq. 9).

    K, u -> priors.Vamp(components=...), .inputs; q(z | u_k) -> the posterior, one for rows and pseudo-inputs.

    >>> model, _ = recipes.vamp((5,), 2, prior="vamp:components=20")
    >>> model.prior.posterior is model.posterior, model.prior.inputs.shape
    (True, torch.Size([20, 5]))
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
