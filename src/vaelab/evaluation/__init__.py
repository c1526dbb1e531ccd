"""How good a model is: bounds and evidence with standard errors, and what its latent dimensions carry."""

from .collapse import active_units, collapse_warning, mutual_information
from .evaluate import NO_DENSITY, Estimate, Evaluation, evaluate_model
from .evidence import RowValues, evidence_rows

__all__ = [
    "NO_DENSITY",
    "Estimate",
    "Evaluation",
    "RowValues",
    "active_units",
    "collapse_warning",
    "evaluate_model",
    "evidence_rows",
    "mutual_information",
]
