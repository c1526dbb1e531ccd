"""Densities that torch lacks, the table of KL divergences, and draws from explicit noise."""

from .autoregressive_bernoulli import AutoregressiveBernoulli, causal
from .code_sequence import CodeSequence
from .codes import CodeMasses, NearestCode
from .columns import Columns
from .concrete import Concrete
from .counts import NegativeBinomial, ZeroInflated
from .discretized import DiscretizedLogistic
from .flow import Flow
from .kl import closed_form_kl
from .logistic_mixture import LogisticMixture
from .mixture import Mixture
from .normalizing import Normalizing
from .point import PointMass
from .reals import ContinuousBernoulli
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
    "LogisticMixture",
    "Mixture",
    "NearestCode",
    "NegativeBinomial",
    "Normalizing",
    "PointMass",
    "UniformSphere",
    "VonMisesFisher",
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
