"""What a model may do to q(z | x) after the encoder: a callback to log p(x, z) makes it better, row by row."""

from .base import Refinement
from .gradient_steps import GradientSteps
from .hamiltonian import Hamiltonian
from .riemannian import Riemannian

__all__ = ["GradientSteps", "Hamiltonian", "Refinement", "Riemannian"]
