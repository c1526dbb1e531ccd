"""What a trained model is for: one verb, one file."""

from .generate import generate
from .reconstruct import reconstruct

__all__ = ["generate", "reconstruct"]
