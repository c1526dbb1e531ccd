"""Densities that torch lacks, the table of KL divergences, and draws from explicit noise."""

from .discretized import DiscretizedLogistic
from .flow import Flow
from .kl import closed_form_kl
from .mixture import Mixture
from .normalizing import Normalizing
from .point import PointMass
from .reparameterize import draw, entries, has_density, held
from .sphere import UniformSphere

__all__ = [
    "DiscretizedLogistic",
    "Flow",
    "Mixture",
    "Normalizing",
    "PointMass",
    "UniformSphere",
    "closed_form_kl",
    "draw",
    "entries",
    "has_density",
    "held",
]
