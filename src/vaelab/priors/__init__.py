"""p(z): one file per family."""

from .flow import Flow
from .gaussian import Gaussian
from .mixture import Mixture
from .sphere import UniformSphere
from .vamp import Vamp

__all__ = ["Flow", "Gaussian", "Mixture", "UniformSphere", "Vamp"]
