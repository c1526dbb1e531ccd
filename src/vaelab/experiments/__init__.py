"""The nineteen cards of the study deck, each an experiment that measures its statement and can fail.

from vaelab.experiments import EXPERIMENTS
result = EXPERIMENTS[1].run(seed=0)
result.holds, result.claims, result.picture()
"""

# each registers its experiment
from . import (  # noqa: F401
    card_01_elbo,
    card_02_reconstruction,
    card_03_minibatches,
    card_04_gradients,
    card_05_reparameterisation,
    card_06_principles,
    card_07_weighted_average,
    card_08_autoencoder,
    card_09_generation,
    card_10_few_factors,
    card_11_new_points,
    card_12_variational,
    card_13_amortised,
    card_14_closed_form,
    card_15_reconstruction_weight,
    card_16_collapse,
    card_17_trick,
    card_18_process,
    card_19_two_steps,
)
from .base import EXPERIMENTS, Claim, Experiment, Result, find

__all__ = ["EXPERIMENTS", "Claim", "Experiment", "Result", "find"]
