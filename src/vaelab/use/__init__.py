"""What a trained model is for: one verb, one file."""

from .encode import Codes, decode, encode
from .generate import generate, generate_blocks
from .interpolate import path_through
from .reconstruct import reconstruct
from .refit import log_prior, refit
from .score import score

__all__ = [
    "Codes",
    "decode",
    "encode",
    "generate",
    "generate_blocks",
    "log_prior",
    "path_through",
    "reconstruct",
    "refit",
    "score",
]
