"""p(z): one file per family."""

from .code_sequence import CodeSequence
from .codes import Codes
from .concrete import Concrete
from .flow import Flow
from .gaussian import Gaussian
from .mixture import Mixture
from .sphere import UniformSphere
from .vamp import Vamp

__all__ = ["CodeSequence", "Codes", "Concrete", "Flow", "Gaussian", "Mixture", "UniformSphere", "Vamp"]
