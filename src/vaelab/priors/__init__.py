"""p(z): one file per family."""

from .gaussian import Gaussian

__all__ = ["Gaussian"]
