"""One loop that trains every model."""

from .fit import History, Settings, optimise, time_per_step
from .rows import Batch, Rows
from .validate import validation_bound

__all__ = ["Batch", "History", "Rows", "Settings", "optimise", "time_per_step", "validation_bound"]
