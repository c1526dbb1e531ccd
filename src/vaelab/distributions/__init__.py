"""Densities that torch lacks, the table of KL divergences, and draws from explicit noise."""

from .code_sequence import CodeSequence
from .codes import CodeMasses, NearestCode
from .columns import Columns
from .concrete import Concrete
from .counts import NegativeBinomial, ZeroInflated
from .discretized import DiscretizedLogistic
from .flow import Flow
from .hyperbolic import RiemannianNormal, WrappedNormal
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
    "RiemannianNormal",
    "UniformSphere",
    "VonMisesFisher",
    "WrappedNormal",
    "ZeroInflated",
    "closed_form_kl",
    "comparable",
    "comparable_anywhere",
    "draw",
    "draw_below",
    "entries",
    "has_density",
    "held",
]
