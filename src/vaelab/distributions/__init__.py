"""Densities that torch lacks, the table of KL divergences, and draws from explicit noise."""

from .autoregressive_bernoulli import AutoregressiveBernoulli, causal
from .code_sequence import CodeSequence
from .codes import CodeMasses, NearestCode
from .columns import Columns
from .concrete import Concrete
from .counts import NegativeBinomial, ZeroInflated
from .discretized import DiscretizedLogistic
from .flow import Flow
from .gaussian_mixture import GaussianMixture
from .hyperbolic import RiemannianNormal, WrappedNormal
from .kl import closed_form_kl
from .logistic_mixture import LogisticMixture
from .low_rank_categorical import LowRankCategorical
from .mixture import Mixture
from .normalizing import Normalizing
from .ordinal import Ordinal
from .point import PointMass
from .reals import ContinuousBernoulli, StudentT
from .reparameterize import comparable, comparable_anywhere, draw, draw_below, entries, has_density, held
from .sphere import UniformSphere
from .von_mises_fisher import VonMisesFisher

__all__ = [
    "AutoregressiveBernoulli",
    "CodeMasses",
    "CodeSequence",
    "Columns",
    "Concrete",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Flow",
    "GaussianMixture",
    "LogisticMixture",
    "LowRankCategorical",
    "Mixture",
    "NearestCode",
    "NegativeBinomial",
    "Normalizing",
    "Ordinal",
    "PointMass",
    "RiemannianNormal",
    "StudentT",
    "UniformSphere",
    "VonMisesFisher",
    "WrappedNormal",
    "ZeroInflated",
    "causal",
    "closed_form_kl",
    "comparable",
    "comparable_anywhere",
    "draw",
    "draw_below",
    "entries",
    "has_density",
    "held",
]
