"""The nineteen cards again, each small enough to answer while somebody moves a slider.

from vaelab.experiments.live import LIVE
LIVE[7](beta=4.0).figures
"""

from . import estimates, inference, trained  # noqa: F401  each registers its cards
from .base import LIVE, Answer, Control, Live

__all__ = ["LIVE", "Answer", "Control", "Live"]
