"""What a trained model is for: one verb, one file."""

from .classify import accuracy, classify
from .conditional import generate_given
from .encode import Codes, decode, encode
from .generate import generate, generate_blocks
from .impute import Imputation, expected, impute
from .interpolate import path_through
from .measure import Measures, measure
from .reconstruct import reconstruct
from .refit import log_prior, refit
from .score import score

__all__ = [
    "Codes",
    "Imputation",
    "Measures",
    "accuracy",
    "classify",
    "decode",
    "encode",
    "expected",
    "generate",
    "generate_blocks",
    "generate_given",
    "impute",
    "log_prior",
    "measure",
    "path_through",
    "reconstruct",
    "refit",
    "score",
]
