"""Recipes whose posterior is their own."""

from __future__ import annotations

from typing import Any

from ..models import VAE
from ..objectives import Objective
from .base import Shape, assemble, recipe


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


@recipe("Hosking, Tang & Lapata 2022, Hierarchical Sketch Induction for Paraphrase Generation (ACL)",
        prior="codes", posterior="residual-nearest", objective="quantised")  # fmt: skip
def hrq_vae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise log p(x | e_1 .. e_D) + sum_d log p(k_d) - commitment sum_d |r_d - sg[e_d]|², e_d nearest to r_d.

    r_1 = z_e(x), r_(d+1) = r_d - e_d (section 3.1). Codes are the nearest ones, with straight-through gradients, where
    the paper draws relaxed ones. e -> posteriors.ResidualNearest; p(k_d) -> priors.Codes; loss -> objectives.Quantised.

    >>> recipes.hrq_vae((5,), 8)[0].posterior.groups  # levels, of two dimensions each
    4
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


@recipe("Chadebec et al. 2020, Geometry-Aware Hamiltonian Variational Auto-Encoder (arXiv 2010.11518)",
        refine="riemannian")  # fmt: skip
def rhvae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E[log p(x, z_K) + log N(r_K; 0, G(z_K)) - log q(z_0 | x) - log N(r_0; 0, G(z_0)) + D/2 log beta_0].

    (z_K, r_K) by K generalised leapfrog steps under a learned metric G (Algorithm 1, eq. 7 and 10), whose centres are
    parameters where the paper has one for each training row. Metric, steps, beta_0 -> refinements.Riemannian.

    >>> recipes.rhvae((5,), 2)[0].refine.components
    10
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


@recipe(
    "Mathieu et al. 2019, Continuous Hierarchical Representations with Poincaré Variational Auto-Encoders (NeurIPS)",
    posterior="wrapped-normal",
)
def pvae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E_q[log p(x | z) + log p(z) - log q(z | x)] on hyperbolic space, z = exp_mu(sigma noise) (eq. 3, 6).

    z is in normal coordinates at the origin, so p(z), the wrapped normal there, -> priors.Gaussian (their other one:
    priors.RiemannianNormal), and networks read log_0(z); their gyroplane layer is left out. q(z | x) ->
    posteriors.WrappedNormal; curvature -c -> its argument.

    >>> recipes.pvae((5,), 2, posterior="wrapped-normal:curvature=0.5")[0].posterior.curvature
    0.5
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
