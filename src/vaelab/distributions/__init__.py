"""Densities that torch lacks, the table of KL divergences, and draws from explicit noise."""

from .columns import Columns
from .counts import NegativeBinomial, ZeroInflated
from .discretized import DiscretizedLogistic
from .kl import closed_form_kl
from .logistic_mixture import LogisticMixture
from .point import PointMass
from .reals import ContinuousBernoulli
from .reparameterize import draw, entries, has_density, held

__all__ = [
    "Columns",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "LogisticMixture",
    "NegativeBinomial",
    "PointMass",
    "ZeroInflated",
    "closed_form_kl",
    "draw",
    "entries",
    "has_density",
    "held",
]
