"""q(z | x): one file per family, on the pattern of `amortized`."""

from .amortized import Amortized
from .concrete import Concrete
from .flow import Flow
from .full_gaussian import FullGaussian
from .gaussian import Gaussian
from .nearest import Nearest
from .point import Point
from .residual import ResidualNearest
from .von_mises_fisher import VonMisesFisher
from .wrapped_normal import WrappedNormal

__all__ = [
    "Amortized",
    "Concrete",
    "Flow",
    "FullGaussian",
    "Gaussian",
    "Nearest",
    "Point",
    "ResidualNearest",
    "VonMisesFisher",
    "WrappedNormal",
]
