"""q(z | x): one file per family, on the pattern of `amortized`."""

from .amortized import Amortized
from .flow import Flow
from .full_gaussian import FullGaussian
from .gaussian import Gaussian
from .point import Point

__all__ = ["Amortized", "Flow", "FullGaussian", "Gaussian", "Point"]
