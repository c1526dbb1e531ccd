"""Densities that torch lacks, the table of KL divergences, and draws from explicit noise."""

from .codes import CodeMasses, NearestCode
from .discretized import DiscretizedLogistic
from .flow import Flow
from .kl import closed_form_kl
from .point import PointMass
from .reparameterize import comparable, draw, entries, has_density, held

__all__ = [
    "CodeMasses",
    "DiscretizedLogistic",
    "Flow",
    "NearestCode",
    "PointMass",
    "closed_form_kl",
    "comparable",
    "draw",
    "entries",
    "has_density",
    "held",
]
