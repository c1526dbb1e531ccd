"""What training maximises, and the bounds that evaluation reports."""

from .base import BoundObjective, Objective
from .bounds import ELBO, IWAE, Reconstruction, elbo, iwae
from .quantised import Quantised

__all__ = ["ELBO", "IWAE", "BoundObjective", "Objective", "Quantised", "Reconstruction", "elbo", "iwae"]
