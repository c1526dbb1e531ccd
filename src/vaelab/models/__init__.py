"""The parts joined: what a model says about data."""

from .terms import Terms
from .vae import VAE, Model

__all__ = ["VAE", "Model", "Terms"]
