"""How good a model is: bounds and evidence with standard errors, what its latents carry, and what ails it."""

from .collapse import active_units, mutual_information
from .diagnose import Diagnosis, Finding, diagnose
from .evaluate import NO_DENSITY, Estimate, Evaluation, evaluate_model, judged_rows
from .evidence import RowValues, evidence_rows
from .per_column import PerColumn, per_column
from .privacy import Privacy, privacy

__all__ = [
    "NO_DENSITY",
    "Diagnosis",
    "Estimate",
    "Evaluation",
    "Finding",
    "PerColumn",
    "Privacy",
    "RowValues",
    "active_units",
    "diagnose",
    "evaluate_model",
    "evidence_rows",
    "judged_rows",
    "mutual_information",
    "per_column",
    "privacy",
]
