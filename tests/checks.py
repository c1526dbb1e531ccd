"""Every exact check by name: CHECKS. Each is fast, and raises AssertionError where the source is wrong."""

import checks_model  # noqa: F401, I001  (the most direct checks first)
import checks_figures  # noqa: F401
from exact import CHECKS

__all__ = ["CHECKS"]
