"""p(z): one file per family."""

from .code_sequence import CodeSequence
from .codes import Codes
from .concrete import Concrete
from .conditioned import Conditioned
from .flow import Flow
from .gaussian import Gaussian
from .mixture import Mixture
from .riemannian_normal import RiemannianNormal
from .sphere import UniformSphere
from .vamp import Vamp

__all__ = [
    "CodeSequence",
    "Codes",
    "Concrete",
    "Conditioned",
    "Flow",
    "Gaussian",
    "Mixture",
    "RiemannianNormal",
    "UniformSphere",
    "Vamp",
]
