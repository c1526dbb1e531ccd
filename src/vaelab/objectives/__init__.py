"""What training maximises, and the bounds that evaluation reports."""

from .base import BoundObjective, Objective
from .bounds import ELBO, IWAE, Reconstruction, elbo, iwae
from .semisupervised import SemiSupervised

__all__ = ["ELBO", "IWAE", "BoundObjective", "Objective", "Reconstruction", "SemiSupervised", "elbo", "iwae"]
