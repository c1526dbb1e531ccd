"""How good a model is: bounds and evidence with standard errors, what its latents carry, and what ails it."""

from .annealed import Annealed, annealed_rows, simulated
from .collapse import active_units, mutual_information
from .diagnose import Diagnosis, Finding, diagnose
from .evaluate import NO_DENSITY, Estimate, Evaluation, evaluate_model, judged_rows
from .evidence import RowValues, evidence_rows
from .factors import Disentanglement, disentanglement
from .gaps import Gaps, inference_gaps
from .per_column import PerColumn, per_column
from .privacy import Privacy, privacy
from .quadrature import Quadrature, quadrature
from .samples import Features, SampleMeasures, compare_samples, median_distance, nearer_share

__all__ = [
    "NO_DENSITY",
    "Annealed",
    "Diagnosis",
    "Disentanglement",
    "Estimate",
    "Evaluation",
    "Features",
    "Finding",
    "Gaps",
    "PerColumn",
    "Privacy",
    "Quadrature",
    "RowValues",
    "SampleMeasures",
    "active_units",
    "annealed_rows",
    "compare_samples",
    "diagnose",
    "disentanglement",
    "evaluate_model",
    "evidence_rows",
    "inference_gaps",
    "judged_rows",
    "median_distance",
    "mutual_information",
    "nearer_share",
    "per_column",
    "privacy",
    "quadrature",
    "simulated",
]
