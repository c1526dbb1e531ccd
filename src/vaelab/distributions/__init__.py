"""Densities that torch lacks, the table of KL divergences, and draws from explicit noise."""

from .discretized import DiscretizedLogistic
from .kl import closed_form_kl
from .point import PointMass
from .reparameterize import draw, draw_below, entries, has_density, held

__all__ = ["DiscretizedLogistic", "PointMass", "closed_form_kl", "draw", "draw_below", "entries", "has_density", "held"]
