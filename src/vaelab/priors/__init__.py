"""p(z): one file per family."""

from .codes import Codes
from .gaussian import Gaussian

__all__ = ["Codes", "Gaussian"]
