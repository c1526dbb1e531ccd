"""The nineteen cards of the study deck, each an experiment that measures its statement and can fail.

from vaelab.experiments import EXPERIMENTS
result = EXPERIMENTS[1].run(seed=0)
result.holds, result.claims, result.picture()
"""

from . import (
    card_01_elbo as card_01_elbo,
)
from . import (
    card_02_reconstruction as card_02_reconstruction,
)
from . import (
    card_05_reparameterisation as card_05_reparameterisation,
)
from . import (
    card_14_closed_form as card_14_closed_form,
)
from . import card_16_collapse as card_16_collapse
from . import (
    card_19_two_steps as card_19_two_steps,
)
from .base import EXPERIMENTS, Claim, Experiment, Result, find

__all__ = ["EXPERIMENTS", "Claim", "Experiment", "Result", "find"]
