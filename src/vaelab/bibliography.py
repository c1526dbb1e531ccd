"""The papers that each part, and what is done with it, come from."""

from __future__ import annotations

import re
from collections.abc import Mapping

KINGMA = "Kingma & Welling 2013, Auto-Encoding Variational Bayes (arXiv 1312.6114)"
BURDA = "Burda, Grosse & Salakhutdinov 2016, Importance Weighted Autoencoders (arXiv 1509.00519)"
ADAM = "Kingma & Ba 2015, Adam: A Method for Stochastic Optimization (ICLR)"
_FLOWS = "Rezende & Mohamed 2015, Variational Inference with Normalizing Flows (ICML)"
_IAF = "Kingma et al. 2016, Improved Variational Inference with Inverse Autoregressive Flow (NIPS)"
_HIDDEN = "Ipsen, Mattei & Frellsen 2021, not-MIWAE: Deep Generative Modelling with Missing not at Random Data (ICLR)"
_VQ = "van den Oord, Vinyals & Kavukcuoglu 2017, Neural Discrete Representation Learning (NIPS)"
_VAMP = "Tomczak & Welling 2018, VAE with a VampPrior (AISTATS)"
_SPHERE = "Davidson, Falorsi, De Cao, Kipf & Tomczak 2018, Hyperspherical Variational Auto-Encoders (UAI)"
_BALL = "Mathieu et al. 2019, Continuous Hierarchical Representations with Poincaré Variational Auto-Encoders (NeurIPS)"
_CONCRETE = "Maddison, Mnih & Teh 2017, The Concrete Distribution (ICLR)"
_GUMBEL = "Jang, Gu & Poole 2017, Categorical Reparameterization with Gumbel-Softmax (ICLR)"
_PIXEL = "Salimans, Karpathy, Chen & Kingma 2017, PixelCNN++ (ICLR)"
_COUNTS = "Lopez et al. 2018, Deep Generative Modeling for Single-Cell Transcriptomics (Nature Methods)"
_TIGHT = "Rainforth et al. 2018, Tighter Variational Bounds are Not Necessarily Better (ICML)"
_ROEDER = "Roeder, Wu & Duvenaud 2017, Sticking the Landing (NIPS)"
_SPLINE = "Durkan, Bekasov, Murray & Papamakarios 2019, Neural Spline Flows (NeurIPS)"

PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "prior": {
        "gaussian": (KINGMA,),
        "mixture": (
            "Dilokthanakul et al. 2016, Deep Unsupervised Clustering with Gaussian Mixture VAEs (arXiv 1611.02648)",
        ),
        "vamp": (_VAMP,),
        "flow": ("Papamakarios, Pavlakou & Murray 2017, Masked Autoregressive Flow (NIPS)", _SPLINE),
        "uniform-sphere": (_SPHERE,),
        "riemannian-normal": (_BALL,),
        "codes": (_VQ,),
        "code-sequence": (_VQ, "Germain, Gregor, Murray & Larochelle 2015, MADE (ICML)"),
        "concrete": (_CONCRETE, _GUMBEL),
        "conditioned": ("Sohn, Lee & Yan 2015, Learning Structured Output Representation (NIPS)",),
    },
    "posterior": {
        "gaussian": (KINGMA,),
        "full-gaussian": (KINGMA,),
        "point": (
            "Hinton & Salakhutdinov 2006, Reducing the Dimensionality of Data with Neural Networks (Science 313)",
        ),
        "flow": (_FLOWS, _IAF, _SPLINE),
        "von-mises-fisher": (_SPHERE,),
        "wrapped-normal": (_BALL,),
        "concrete": (_CONCRETE, _GUMBEL),
        "nearest": (_VQ,),
        "residual-nearest": (
            _VQ,
            "Hosking, Tang & Lapata 2022, Hierarchical Sketch Induction for Paraphrase Generation (ACL)",
        ),
    },
    "likelihood": {
        "bernoulli": (KINGMA,),
        "autoregressive-bernoulli": (
            "Gulrajani et al. 2017, PixelVAE: A Latent Variable Model for Natural Images (ICLR)",
            "Chen et al. 2017, Variational Lossy Autoencoder (ICLR)",
        ),
        "gaussian": (
            KINGMA,
            "Rybkin, Daniilidis & Levine 2021, Simple and Effective VAE Training with Calibrated Decoders (ICML)",
        ),
        "gaussian-mixture": ("Bishop 1994, Mixture Density Networks (Aston University)",),
        "categorical": (),
        "low-rank-categorical": (),
        "ordinal": ("McCullagh 1980, Regression Models for Ordinal Data (JRSS B 42)",),
        "continuous-bernoulli": ("Loaiza-Ganem & Cunningham 2019, The Continuous Bernoulli (NeurIPS)",),
        "discretized-logistic": (_IAF,),
        "logistic-mixture": (_PIXEL,),
        "laplace": (),
        "student-t": ("Takahashi, Iwata, Yamanaka, Yamada & Yagi 2018, Student-t Variational Autoencoder (IJCAI)",),
        "poisson": (_COUNTS,),
        "negative-binomial": (_COUNTS,),
        "zero-inflated-poisson": (_COUNTS,),
        "zero-inflated-negative-binomial": (_COUNTS,),
        "columns": (
            "Nazábal, Olmos, Ghahramani & Valera 2020, Handling Incomplete Heterogeneous Data using VAEs (PR 107)",
        ),
    },
    "objective": {
        "elbo": (KINGMA,),
        "iwae": (BURDA,),
        "reconstruction": (),
        "renyi": ("Li & Turner 2016, Rényi Divergence Variational Inference (NIPS)",),
        "multiply-iwae": (_TIGHT,),
        "partial-iwae": (_TIGHT,),
        "combined-iwae": (_TIGHT,),
        "total-correlation": (
            "Chen, Li, Grosse & Duvenaud 2018, Isolating Sources of Disentanglement in VAEs (NeurIPS)",
        ),
        "factor": ("Kim & Mnih 2018, Disentangling by Factorising (ICML)",),
        "adversarial": ("Makhzani et al. 2016, Adversarial Autoencoders (arXiv 1511.05644)",),
        "mmd": (
            "Tolstikhin, Bousquet, Gelly & Schölkopf 2018, Wasserstein Auto-Encoders (ICLR)",
            "Zhao, Song & Ermon 2019, InfoVAE (AAAI)",
        ),
        "sliced-wasserstein": ("Kolouri, Pope, Martin & Rohde 2019, Sliced Wasserstein Auto-Encoders (ICLR)",),
        "capacity": ("Burgess et al. 2018, Understanding Disentangling in beta-VAE (arXiv 1804.03599)",),
        "rae": ("Ghosh et al. 2020, From Variational to Deterministic Autoencoders (ICLR)",),
        "dip": ("Kumar, Sattigeri & Balakrishnan 2018, Variational Inference of Disentangled Latent Concepts (ICLR)",),
        "wake-sleep": ("Hinton, Dayan, Frey & Neal 1995, The Wake-Sleep Algorithm (Science 268)",),
        "monte-carlo-em": (KINGMA, "Neal 2011, MCMC using Hamiltonian Dynamics (Handbook of Markov Chain Monte Carlo)"),
        "reweighted-wake-sleep": ("Bornschein & Bengio 2015, Reweighted Wake-Sleep (ICLR)",),
        "score": ("Mnih & Gregor 2014, Neural Variational Inference and Learning in Belief Networks (ICML)",),
        "vimco": ("Mnih & Rezende 2016, Variational Inference for Monte Carlo Objectives (ICML)",),
        "learned-similarity": (
            "Larsen et al. 2016, Autoencoding beyond Pixels using a Learned Similarity Metric (ICML)",
        ),
        "similarity": (
            "Snell et al. 2017, Learning to Generate Images with Perceptual Similarity Metrics (ICIP)",
            "Wang, Simoncelli & Bovik 2003, Multi-Scale Structural Similarity for Image Quality Assessment (Asilomar)",
        ),
        "quantised": (_VQ,),
        "semi-supervised": (
            "Kingma, Rezende, Mohamed & Welling 2014, Semi-supervised Learning with Deep Generative Models (NIPS)",
        ),
    },
    "network": {
        "mlp": (),
        "conv": (),
        "resnet": ("He, Zhang, Ren & Sun 2016, Identity Mappings in Deep Residual Networks (ECCV)",),
    },
    "missingness": {"self-masking": (_HIDDEN,)},
    "refine": {
        "gradient-steps": ("Kim, Wiseman, Miller, Sontag & Rush 2018, Semi-Amortized Variational Autoencoders (ICML)",),
        "riemannian": ("Chadebec et al. 2020, Geometry-Aware Hamiltonian Variational Auto-Encoder (arXiv 2010.11518)",),
        "hamiltonian": ("Caterini, Doucet & Sejdinovic 2018, Hamiltonian Variational Auto-Encoder (NeurIPS)",),
    },
}
# what an argument of a part adds
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "beta": ("Higgins et al. 2017, beta-VAE (ICLR)",),
    "free_bits": (_IAF,),
    "warmup": ("Sonderby, Raiko, Maaloe, Sonderby & Winther 2016, Ladder Variational Autoencoders (NIPS)",),
    "gradient=stopped": (_ROEDER,),
    "gradient=dreg": ("Tucker, Lawson, Gu & Maddison 2019, Doubly Reparameterized Gradient Estimators (ICLR)",),
}


def references(parts: Mapping[str, str], paper: str | None = None) -> list[str]:
    """Return the papers behind a model of these parts, role -> "name:argument=value,...", each once, by name.

    `paper` is that of the recipe. Training by Adam and the evidence by importance weighting are in every list.

    >>> references({"prior": "vamp:components=500", "objective": "iwae:gradient=dreg"})[-1]
    'Tucker, Lawson, Gu & Maddison 2019, Doubly Reparameterized Gradient Estimators (ICLR)'
    """
    found = {KINGMA, BURDA, ADAM}
    for role, text in parts.items():
        name, _, written = text.partition(":")
        found |= set(PARTS.get(role, {}).get(name, ()))
        for argument in filter(None, written.split(",")):
            found |= {*ARGUMENTS.get(argument, ()), *ARGUMENTS.get(argument.partition("=")[0], ())}
    known = {short(one) for one in found}
    if paper is not None:
        found |= {one for one in paper.split("; ") if short(one) not in known}
    return sorted(found)


def short(reference: str) -> str:
    """Return the first words of the title, by which a paper is known, however its authors are written.

    >>> short(KINGMA)
    'auto-encoding variational bayes'
    """
    title = re.split(r"\b\d{4}, ", reference)[-1]
    return " ".join(re.sub(r"[(:].*", "", title).lower().split()[:3])
