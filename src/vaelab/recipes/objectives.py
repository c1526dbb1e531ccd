"""Published models that are the VAE, or the autoencoder, under another objective or gradient."""

from __future__ import annotations

from typing import Any

from ..models import VAE
from ..objectives import Objective
from .base import Shape, assemble, recipe


@recipe(
    "Tucker et al. 2019, Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives (ICLR)",
    objective="iwae:samples=64,gradient=dreg",
)
def iwae_dreg(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E[log (1/K) sum_k w_k], the encoder's gradient sum_k w~_k² (dlog w_k / dz)(dz / dphi) (eq. 8).

    K -> objectives.IWAE(samples=...); the estimator -> gradient="dreg".

    >>> recipes.iwae_dreg((5,), 2)[1].gradient
    'dreg'
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Rainforth et al. 2018, Tighter Variational Bounds are Not Necessarily Better (ICML): MIWAE",
    objective="multiply-iwae:samples=64,groups=8",
)
def miwae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise (1/M) sum_m log (1/K) sum_k w_mk (eq. 10): M bounds of K draws, for a clearer signal to the encoder.

    M -> objectives.MultiplyIWAE(groups=...); M K -> samples.

    >>> recipes.miwae((5,), 2)[1].groups
    8
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Rainforth et al. 2018, Tighter Variational Bounds are Not Necessarily Better (ICML): PIWAE",
    objective="partial-iwae:samples=64,groups=8",
)
def piwae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise the IWAE of all M K draws in the decoder, and the MIWAE in the encoder (eq. 12).

    M -> objectives.PartialIWAE(groups=...); M K -> samples; encoder -> owner "recognition".

    >>> sorted(recipes.piwae((5,), 2)[1].owners(recipes.vae((5,), 2)[0]))
    ['generative', 'recognition']
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Rainforth et al. 2018, Tighter Variational Bounds are Not Necessarily Better (ICML): CIWAE",
    objective="combined-iwae:samples=64,weight=0.5",
)
def ciwae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise beta ELBO + (1 - beta) IWAE, over the same K draws (eq. 11).

    beta -> objectives.CombinedIWAE(weight=...); K -> samples.

    >>> recipes.ciwae((5,), 2)[1].weight
    0.5
    """
    return assemble(shape, latent_dim, **parts)


@recipe("Li & Turner 2016, Rényi Divergence Variational Inference (NeurIPS)", objective="renyi:alpha=0.5,samples=50")
def renyi(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise log ((1/K) sum_k w_k^(1 - alpha)) / (1 - alpha) (eq. 7); alpha=-inf is VR-max.

    alpha, K -> objectives.Renyi(alpha=..., samples=...).

    >>> recipes.renyi((5,), 2, objective="renyi:alpha=-inf")[1].alpha
    -inf
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Chen et al. 2018, Isolating Sources of Disentanglement in VAEs (NeurIPS)", objective="total-correlation:beta=6"
)
def beta_tc_vae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E_q[log p(x | z)] - I(x; z) - beta TC(z) - sum_d KL(q(z_d) || p(z_d)), beta = 6 (eq. 4).

    alpha, beta, gamma -> objectives.TotalCorrelation(...); minibatch estimates -> total_correlation.log_row_weights.

    >>> recipes.beta_tc_vae((5,), 2)[1].beta
    6
    """
    return assemble(shape, latent_dim, **parts)


@recipe("Kim & Mnih 2018, Disentangling by Factorising (ICML)", objective="factor:gamma=6")
def factor_vae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise ELBO - gamma TC(z), TC by a critic of z against z permuted over the batch (eq. 2 and 3).

    gamma, discriminator -> objectives.Factor(gamma=..., width=..., layers=...), smaller than published.

    >>> recipes.factor_vae((5,), 2)[1].gamma
    6
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Zhao, Song & Ermon 2019, InfoVAE: Balancing Learning and Inference in VAEs (AAAI)",
    objective="mmd:beta=0.5,weight=1000,kernel=rbf",
)
def info_vae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E_q[log p(x | z)] - (1 - alpha) KL(q(z | x) || p(z)) - (alpha + lambda - 1) MMD²(q(z), p(z)) (eq. 6).

    1 - alpha -> objectives.MMD(beta=...); alpha + lambda - 1 -> weight; here alpha = 0.5, lambda = 1000.5.

    >>> recipes.info_vae((5,), 2)[1].kernel
    'rbf'
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Tolstikhin et al. 2018, Wasserstein Auto-Encoders (ICLR): WAE-MMD", posterior="point", objective="mmd:weight=1000"
)
def wae_mmd(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise log p(x | z) - lambda MMD²(q(z), p(z)) with z = network(x) (Alg. 2): no bound on log p(x).

    lambda -> objectives.MMD(weight=...); inverse multiquadratic kernel -> kernel="imq"; encoder -> posteriors.Point.

    >>> type(recipes.wae_mmd((5,), 2)[0].posterior).__name__
    'Point'
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Kolouri et al. 2019, Sliced Wasserstein Auto-Encoders (ICLR)",
    posterior="point",
    objective="sliced-wasserstein:weight=100",
)
def sliced_wae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise log p(x | z) - lambda SW²(q(z), p(z)) with z = network(x) (eq. 11): no bound on log p(x).

    lambda, L -> objectives.SlicedWasserstein(weight=..., projections=...); encoder -> posteriors.Point.

    >>> recipes.sliced_wae((5,), 2)[1].projections
    50
    """
    return assemble(shape, latent_dim, **parts)


@recipe("Makhzani et al. 2016, Adversarial Autoencoders (arXiv 1511.05644)", posterior="point", objective="adversarial")
def aae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise log p(x | z) + log D(z) with z = network(x), D a critic of p(z) against q(z): no bound on log p(x).

    D -> objectives.Adversarial(width=..., layers=...); deterministic encoder -> posteriors.Point.

    >>> recipes.aae((5,), 2)[1].weight
    1.0
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Larsen et al. 2016, Autoencoding beyond Pixels using a Learned Similarity Metric (ICML)",
    objective="learned-similarity",
)
def vae_gan(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Encoder: least KL - L; decoder: greatest gamma L + log D(x~) + log D(x_p), L = -|h(x) - h(x~)|²/2 (Alg. 1).

    D, its features h, gamma -> objectives.LearnedSimilarity; x~ = E[x | z]. No bound on log p(x) is trained; what is
    reported and compared is the bound of the model's own likelihood, which the decoder therefore hears too (pixels=0:
    as published).

    >>> recipes.vae_gan((5,), 2)[1].gamma
    1.0
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Ghosh et al. 2020, From Variational to Deterministic Autoencoders (ICLR): RAE-L2",
    posterior="point",
    objective="rae:penalty=l2",
)
def rae_l2(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise log p(x | z) - beta ||z||²/2 - lambda ||theta||² with z = network(x) (eq. 11): no bound on log p(x).

    beta, lambda -> objectives.RAE(beta=..., weight=...); theta -> the likelihood's parameters.

    >>> recipes.rae_l2((5,), 2)[1].penalty
    'l2'
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Ghosh et al. 2020, From Variational to Deterministic Autoencoders (ICLR): RAE-GP",
    posterior="point",
    objective="rae:penalty=gradient",
)
def rae_gp(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise log p(x | z) - beta ||z||²/2 - lambda ||d E[x | z] / dz||²/2 with z = network(x): no bound on log p(x).

    beta, lambda -> objectives.RAE(beta=..., weight=...); the Jacobian's norm -> autoencoder.jacobian_norm.

    >>> recipes.rae_gp((5,), 2)[1].penalty
    'gradient'
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Burgess et al. 2018, Understanding Disentangling in beta-VAE (arXiv 1804.03599)",
    objective="capacity:gamma=1000,capacity=25,warmup=10000",
)
def disentangled_beta_vae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise E_q[log p(x | z)] - gamma |KL(q || p) - C|, C rising from 0 to 25 nats (eq. 8).

    gamma, C -> objectives.Capacity(gamma=..., capacity=...); over how many steps C rises -> warmup.

    >>> recipes.disentangled_beta_vae((5,), 2)[1].capacity
    25
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Kumar, Sattigeri & Balakrishnan 2018, Variational Inference of Disentangled Latent Concepts (ICLR)",
    objective="dip:kind=ii",
)
def dip_vae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise ELBO - lambda_od sum_{i != j} C_ij² - lambda_d sum_i (C_ii - 1)², C the covariance of q(z) (eq. 7).

    lambda_od, lambda_d -> objectives.DIP(off_diagonal=..., diagonal=...); DIP-VAE-I -> kind="i".

    >>> recipes.dip_vae((5,), 2)[1].kind
    'ii'
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Snell et al. 2017, Learning to Generate Images with Perceptual Similarity Metrics (ICIP)", objective="similarity"
)
def ms_ssim_vae(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Maximise -C (1 - MS-SSIM(x, E[x | z])) - KL(q(z | x) || p(z)): no bound on log p(x) (the expected-loss VAE).

    C -> objectives.Similarity(weight=...); MS-SSIM -> objectives.ms_ssim, of as many scales as the images have. What
    is reported and compared is the bound of the model's own likelihood.

    >>> recipes.ms_ssim_vae((1, 28, 28), 2)[1].weight
    100.0
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Hinton, Dayan, Frey & Neal 1995, The Wake-Sleep Algorithm for Unsupervised Neural Networks (Science 268)",
    objective="wake-sleep",
)
def wake_sleep(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """Awake, p maximises E_q[log p(x, z)]; asleep, q maximises E_p[log q(z | x)]; no gradient through a draw.

    p -> owner "generative"; q -> owner "recognition" of objectives.WakeSleep.

    >>> type(recipes.wake_sleep((5,), 2)[1]).__name__
    'WakeSleep'
    """
    return assemble(shape, latent_dim, **parts)


@recipe("Bornschein & Bengio 2015, Reweighted Wake-Sleep (ICLR)", objective="reweighted-wake-sleep:samples=5")
def reweighted_wake_sleep(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """p maximises log (1/K) sum_k w_k; q follows the same weighted draws, and dreams (eq. 11 and 12).

    K -> objectives.ReweightedWakeSleep(samples=...); q-wake and q-sleep -> recognition="both".

    >>> recipes.reweighted_wake_sleep((5,), 2)[1].samples
    5
    """
    return assemble(shape, latent_dim, **parts)


@recipe(
    "Kingma & Welling 2013, Auto-Encoding Variational Bayes (arXiv 1312.6114), appendix E", objective="monte-carlo-em"
)
def monte_carlo_em(shape: Shape, latent_dim: int, **parts: Any) -> tuple[VAE, Objective]:
    """E: z ~ p(z | x) by Hamiltonian Monte Carlo, a chain for each row; M: p maximises log p(x, z), five times.

    10 leapfrog steps, 90 % accepted, 5 updates -> objectives.MonteCarloEM(leapfrog=..., acceptance=..., updates=...);
    q(z | x), which the paper has not, follows the chains.

    >>> recipes.monte_carlo_em((5,), 2)[1].updates
    5
    """
    return assemble(shape, latent_dim, **parts)
