"""The nineteen cards of the study deck, each an experiment that measures its statement and can fail.

from vaelab.experiments import EXPERIMENTS
result = EXPERIMENTS[1].run(seed=0)
result.holds, result.claims, result.picture()
"""

from importlib import import_module
from pkgutil import iter_modules

from .base import EXPERIMENTS, Claim, Experiment, Result, find

for _module in iter_modules(__path__):
    if _module.name.startswith("card_"):  # each registers its experiment
        import_module(f".{_module.name}", __name__)

__all__ = ["EXPERIMENTS", "Claim", "Experiment", "Result", "find"]
