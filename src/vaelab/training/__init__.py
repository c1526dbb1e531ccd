"""One loop that trains every model."""

from .fit import History, Settings, optimise, time_per_step
from .progress import Progress
from .rows import Batch, Rows
from .validate import validation_bound

__all__ = ["Batch", "History", "Progress", "Rows", "Settings", "optimise", "time_per_step", "validation_bound"]
