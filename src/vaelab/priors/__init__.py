"""p(z): one file per family."""

from .conditioned import Conditioned
from .gaussian import Gaussian

__all__ = ["Conditioned", "Gaussian"]
