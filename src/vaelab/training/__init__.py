"""One loop that trains every model."""

from .augment import Augment
from .distributed import ALONE, Ranks
from .fit import optimise, rehearse, time_per_step
from .fits import check_memory
from .progress import Progress
from .rows import Batch, Rows, steps_per_epoch
from .settings import Settings
from .state import History, Keeper
from .step import pays
from .trouble import memory_said
from .validate import validation_bound

__all__ = [
    "ALONE",
    "Augment",
    "Batch",
    "History",
    "Keeper",
    "Progress",
    "Ranks",
    "Rows",
    "Settings",
    "check_memory",
    "memory_said",
    "optimise",
    "pays",
    "rehearse",
    "steps_per_epoch",
    "time_per_step",
    "validation_bound",
]
